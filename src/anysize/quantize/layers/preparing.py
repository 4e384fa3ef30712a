"""`prepare` a model for training as codes, and `convert` it to codes: the two steps that users of torchao know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import nn

from anysize.core.errors import AnysizeError
from anysize.quantize.codes.scheme import LAYOUTS, Scheme
from anysize.quantize.codes.slicing import check_bits
from anysize.quantize.layers.choosing import choose
from anysize.quantize.layers.fake import FakeQuantEmbedding, FakeQuantLinear
from anysize.quantize.layers.learnt import folded_bias
from anysize.quantize.layers.stored import Stored, StoredEmbedding, StoredLinear

Model = TypeVar("Model", bound=nn.Module)


def prepare(
    model: Model,
    modules: str | Sequence[str] = "ffn",
    *,
    bits: Sequence[int] = (8, 4, 2),
    scheme: Scheme | None = None,
) -> Model:
    """
    Replace chosen linear layers and tables by ones that train as codes; in place, and the model is returned.

    Outside `running_at` they run at the widest of `bits`. Raises `AnysizeError` or `SizeError` for patterns that match
    nothing, a model that is quantised already, unsound weights, and widths that do not descend.
    """
    scheme = scheme or Scheme()
    check_bits(tuple(bits), scheme.parent_bits)
    made: dict[str, nn.Module] = {}
    for name, part in choose(model, modules).items():
        if isinstance(part, nn.Linear):
            made[name] = FakeQuantLinear(part, scheme, bits[0], name)
        elif isinstance(part, nn.Embedding):
            if part.max_norm is not None or part.scale_grad_by_freq or part.sparse:
                raise AnysizeError(f"{name} is a table with max_norm or sparse gradients, which cannot train as codes")
            made[name] = FakeQuantEmbedding(part, scheme, bits[0], name)
    for name, part in made.items():  # only now: a model that is refused stays as it was
        model.set_submodule(name, part)
    return model


def convert(model: Model, *, layout: str = "planes") -> Model:
    """
    Replace what `prepare` made by its codes, which give the same at every width; in place, the model is returned.

    `layout`: ``planes``, so that a file can be read in part, or ``uint8``, one byte a code.
    """
    if layout not in LAYOUTS:
        raise AnysizeError(f"{layout!r} is not a layout; expected one of {', '.join(LAYOUTS)}")
    found = {
        name: part for name, part in model.named_modules() if isinstance(part, FakeQuantLinear | FakeQuantEmbedding)
    }
    if not found:
        raise AnysizeError("nothing here was prepared for quantisation; call prepare first")
    for name, part in found.items():
        model.set_submodule(name, stored_of(part, layout))
    return model


def stored_of(part: FakeQuantLinear | FakeQuantEmbedding, layout: str) -> Stored:
    """The codes of one layer in training."""
    if isinstance(part, FakeQuantEmbedding):
        table = StoredEmbedding(part.num_embeddings, part.embedding_dim, part.scheme, part.widest, part.name, layout)
        table.fill(*part.code())
        return table.to(part.weight.device)
    learnt = part.learnt
    transformed = learnt is not None and learnt.shift is not None
    layer = StoredLinear(
        part.out_features,
        part.in_features,
        part.scheme,
        part.widest,
        part.name,
        layout,
        bias=part.bias is not None,
        transformed=transformed,
    )
    layer.fill(*(part.code() if learnt is None else learnt.code(part.weight)))
    bias = None if part.bias is None else part.bias.detach().clone().float()
    if learnt is not None and learnt.shift is not None and learnt.log_scale is not None:
        layer.column_scale = learnt.log_scale.detach().exp()
        layer.shift = learnt.shift.detach().clone()
        bias = folded_bias(bias, part.weight.detach(), layer.shift)
    layer.bias = bias
    return layer.to(part.weight.device)


def empty_stored(
    part: nn.Module, scheme: Scheme, widest: int, name: str, layout: str, *, transformed: bool = False
) -> Stored:
    """The place of a layer's codes, ready for `load_state_dict`; `part` is the float layer that it stands for."""
    if isinstance(part, nn.Embedding):
        return StoredEmbedding(part.num_embeddings, part.embedding_dim, scheme, widest, name, layout)
    assert isinstance(part, nn.Linear)
    return StoredLinear(
        part.out_features,
        part.in_features,
        scheme,
        widest,
        name,
        layout,
        bias=part.bias is not None,
        transformed=transformed,
    )
