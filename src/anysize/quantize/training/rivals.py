"""What a quantised model is compared with: the float model, codes without training, a slice of one width, twins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anysize.core.model.contract import NestedModel
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.rivals import check_arm, check_same_data, method_of

if TYPE_CHECKING:
    from anysize.quantize.model.model import Quantized
    from anysize.quantize.training.method import MatQuant

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
    check_arm(name, RIVALS)
    method: MatQuant = method_of(model)
    if name == "original":
        return [original(method)]
    if name == "minmax":
        return [method.minmax(size).fit(data) for size in model.nesting]
    check_same_data(model, data, name)
    if name == "single":
        return [method.single(size).fit(data) for size in model.nesting]
    whole = method.sliced().fit(data)
    # What is trained at full depth and width alone has no smaller layers or dims; its slices are all it can show.
    return [whole.at(size) for size in model.nesting if size in whole.nesting]


def original(method: MatQuant) -> Quantized:
    """The float model as a quantised one without a single code, so that it can stand in the same frontier."""
    from anysize.quantize.model.making import kind_for
    from anysize.quantize.model.model import plain_costs
    from anysize.quantize.model.plan import Plan

    inner = method.source()
    whole = method.nesting().full
    beside = {axis: (value,) for axis, value in whole.items() if axis != "bits"}
    nesting = Nesting(**beside, bits=(FLOAT_BITS,))
    return kind_for(inner)(nesting, inner, Plan(method.scheme(), (), ()), plain_costs(inner))
