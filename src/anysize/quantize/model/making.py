"""From a model with float weights to a quantised one: prepared, perhaps trained, then finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anysize.core.errors import SizeError
from anysize.core.model.contract import NestedModel
from anysize.core.sizes.nesting import Nesting
from anysize.quantize.codes.scheme import Scheme
from anysize.quantize.layers.fake import FakeQuantEmbedding, FakeQuantLinear
from anysize.quantize.layers.preparing import convert, prepare
from anysize.quantize.model.encoder import QuantizedEncoder
from anysize.quantize.model.inner import plain_costs
from anysize.quantize.model.language import QuantizedLM
from anysize.quantize.model.model import Quantized
from anysize.quantize.model.plan import Plan


def prepared(
    inner: NestedModel,
    nesting: Nesting,
    *,
    bits: Sequence[int] = (8, 4, 2),
    modules: str | Sequence[str] = "ffn",
    scheme: Scheme | None = None,
    layout: str = "planes",
) -> Quantized:
    """
    `inner` with its layers in training, wrapped; `bits` are those trained, of all that `nesting` offers.

    The layers of `inner` are replaced in place. Raises as `prepare` does, and `SizeError` if the nesting offers a
    width above the widest trained one.
    """
    scheme = scheme or Scheme()
    if "bits" in nesting.axes and nesting.full.bits > max(bits, default=0):
        raise SizeError(f"bits={nesting.full.bits} is above the widest width trained, {max(bits, default=0)}")
    plain = plain_costs(inner)
    prepare(inner, modules, bits=bits, scheme=scheme)
    names = [n for n, part in inner.named_modules() if isinstance(part, FakeQuantLinear | FakeQuantEmbedding)]
    plan = Plan(scheme, tuple(names), tuple(bits), layout)
    return kind_for(inner)(nesting, inner, plan, plain)


def finished(model: Quantized) -> Quantized:
    """The same model, its layers stored as codes in place of floats; in place."""
    fakes = {n: p for n, p in model.inner.named_modules() if isinstance(p, FakeQuantLinear | FakeQuantEmbedding)}
    for part in fakes.values():
        part.widest = model.nesting.full.bits  # planes that no size reads are not kept
    learnt = {n: part.learnt for n, part in fakes.items() if isinstance(part, FakeQuantLinear)}
    transformed = tuple(n for n, part in learnt.items() if part is not None and part.shift is not None)
    convert(model.inner, layout=model.plan.layout)
    model.plan = replace(model.plan, transformed=transformed)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()


def kind_for(inner: NestedModel) -> type[Quantized]:
    """The class that gives what `inner` gives."""
    kinds: dict[str, type[Quantized]] = {"next tokens": QuantizedLM, "vectors": QuantizedEncoder}
    return kinds.get(inner.gives, Quantized)
