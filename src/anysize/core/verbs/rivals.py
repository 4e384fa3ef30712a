"""What every family's rivals begin with: how a model was trained, and that they learn from the same data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anysize.core.errors import AnysizeError
from anysize.core.registry import find

if TYPE_CHECKING:
    from anysize.core.data.records import Data
    from anysize.core.model.contract import NestedModel


def check_arm(name: str, rivals: tuple[str, ...]) -> None:
    """Raise `AnysizeError`, naming those that there are, for an arm that is none of `rivals`."""
    if name not in rivals:
        raise AnysizeError(f"no arm is called {name!r}; there are: {', '.join(rivals)}")


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
