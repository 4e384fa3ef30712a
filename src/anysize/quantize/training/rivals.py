"""What a quantised model is compared with: the float model, codes without training, a slice of one width, twins."""

from __future__ import annotations

from anysize.core.data.data import Data
from anysize.core.model.contract import NestedModel
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.rivals import check_same_data, method_of
from anysize.quantize.model.inner import plain_costs
from anysize.quantize.model.making import kind_for
from anysize.quantize.model.model import Quantized
from anysize.quantize.model.plan import Plan
from anysize.quantize.training.fit import float_model
from anysize.quantize.training.method import MatQuant

FLOAT_BITS = 32


def minmax(model: Quantized, data: Data) -> list[NestedModel]:
    """For each size the float weights rounded to its width with scales of its own, no training."""
    method: MatQuant = method_of(model)
    return [method.minmax(size).fit(data) for size in model.nesting]


def sliced(model: Quantized, data: Data) -> list[NestedModel]:
    """The widest width trained alone with the same method and data, then cut."""
    method: MatQuant = method_of(model)
    check_same_data(model, data, "sliced")
    whole = method.sliced().fit(data)
    # What is trained at full depth and width alone has no smaller layers or dims; its slices are all it can show.
    return [whole.at(size) for size in model.nesting if size in whole.nesting]


def original(model: Quantized, data: Data) -> list[NestedModel]:
    """The float model, at bits=32. Raises `AnysizeError` where the method that made `model` is not known."""
    return [floats_of(method_of(model))]


def floats_of(method: MatQuant) -> Quantized:
    """The float model as a quantised one without a single code, so that it can stand in the same frontier."""
    inner = float_model(method)
    whole = method.nesting().full
    beside = {axis: (value,) for axis, value in whole.items() if axis != "bits"}
    nesting = Nesting(**beside, bits=(FLOAT_BITS,))
    return kind_for(inner)(nesting, inner, Plan(method.scheme(), (), ()), plain_costs(inner))
