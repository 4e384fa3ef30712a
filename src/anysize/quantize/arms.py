"""What a quantised model is compared with: the float model, codes without training, a slice of one width, twins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anysize.core.errors import AnysizeError
from anysize.core.model import NestedModel
from anysize.core.sizes import Nesting

if TYPE_CHECKING:
    from anysize.quantize.method import MatQuant
    from anysize.quantize.model import Quantized

RIVALS = ("minmax", "sliced", "single", "original")
FLOAT_BITS = 32


def rival(model: Quantized, name: str, data: Any) -> list[NestedModel]:
    """
    Views of one rival of `model`, smallest first.

    ``minmax``: for each width the float weights rounded to it with scales of its own, no training. ``sliced``: the
    widest width trained alone with the same method and data, then cut. ``single``: for each size, a model trained for
    that size alone, with scales of its own width. ``original``: the float model, at bits=32. Raises `AnysizeError` for
    any other name, or where the base, the method or the training data is not known.
    """
    if name not in RIVALS:
        raise AnysizeError(f"no arm is called {name!r}; there are: {', '.join(RIVALS)}")
    method = method_of(model)
    if name == "original":
        return [original(method)]
    if name == "minmax":
        return [method.minmax(size).fit(data) for size in model.nesting]
    if model.about.get("data", {}).get("fingerprint") != data.fingerprint:
        raise AnysizeError(
            f"twins learn from the data that the model was fitted on, and {data.name} is not that; "
            f"measure on that data, or leave out the arm {name}"
        )
    if name == "single":
        return [method.single(size).fit(data) for size in model.nesting]
    whole = method.sliced().fit(data)
    # What is trained at full depth and width alone has no smaller layers or dims; its slices are all it can show.
    return [whole.at(size) for size in model.nesting if size in whole.nesting]


def original(method: MatQuant) -> Quantized:
    """The float model as a quantised one without a single code, so that it can stand in the same frontier."""
    from anysize.quantize.making import kind_for
    from anysize.quantize.model import plain_costs
    from anysize.quantize.plan import Plan

    inner = method.source()
    whole = method.nesting().full
    beside = {axis: (value,) for axis, value in whole.items() if axis != "bits"}
    nesting = Nesting(**beside, bits=(FLOAT_BITS,))
    return kind_for(inner)(nesting, inner, Plan(method.scheme(), (), ()), plain_costs(inner))


def method_of(model: Quantized) -> MatQuant:
    """The method that made a model, with its options. Raises `AnysizeError` if the model does not say."""
    from anysize.quantize.method import MatQuant

    options = model.about.get("options")
    if model.about.get("method") != MatQuant.name or options is None:
        raise AnysizeError("this model does not say how it was made, so it has no such rival")
    restored: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in options.items()}
    return MatQuant(**restored)
