"""Rivals: what a model is measured beside, by name, and what training one begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anysize.core.errors import AnysizeError, nearest
from anysize.core.registry import find, named

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.model.contract import NestedModel


def rival(model: NestedModel, name: str, data: Data) -> list[NestedModel]:
    """
    Views of the model's rival called `name`, one per size that it offers, smallest first.

    Raises `AnysizeError`, naming those that there are, for another name; or where the rival cannot be made.
    """
    check_known(model, name)
    views: list[NestedModel] = named(model.rivals[name])(model, data)
    return views


def check_known(model: NestedModel, name: str) -> None:
    """Raise `AnysizeError`, naming the rivals that a model has, if none is called `name`."""
    if name in model.rivals:
        return
    there = ", ".join(f"{one} (usual)" if one in model.usual else one for one in model.rivals) or "none"
    like = nearest(name, model.rivals)
    meant = f"; {like}" if like.endswith("?") else ""
    raise AnysizeError(f"a model of kind {model.kind!r} has no rival called {name!r}; there are: {there}{meant}")


def single(model: NestedModel, data: Data) -> list[NestedModel]:
    """The rival ``single``: for each size, a model trained for it alone with the same method, data and steps."""
    method = method_of(model)
    check_same_data(model, data, "single")
    return [method.single(size).fit(data) for size in model.nesting]


def method_of(model: NestedModel) -> Any:
    """The method that made a model, with its options. Raises `AnysizeError` if the model does not say."""
    options, name = model.about.get("options"), model.about.get("method")
    if options is None or name is None:
        raise AnysizeError("this model does not say how it was made, so nothing can be trained beside it")
    restored = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return find("methods", name)(**restored)


def check_same_data(model: NestedModel, data: Data, arm: str) -> None:
    """
    Raise `AnysizeError` unless the model was fitted on these data.

    A rival that learns from other data, perhaps from what is measured, would not be a fair comparison.
    """
    if model.about.get("data", {}).get("fingerprint") != data.fingerprint:
        raise AnysizeError(
            f"the arm {arm} learns from the data that the model was fitted on, and {data.name} is not that; measure on "
            f"that data, or leave out the arm {arm}"
        )
