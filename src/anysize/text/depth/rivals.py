"""What a nested encoder is compared with: its base cut as it is, or along principal directions; one-size twins."""

from __future__ import annotations

from anysize.backbones.layered import Backbone
from anysize.backbones.sentence import Encoder
from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError
from anysize.core.model.contract import NestedModel
from anysize.core.sizes.nesting import Nesting
from anysize.evaluation.once import precision
from anysize.evaluation.principal import principal_rows
from anysize.text.depth.model import NestedEncoder


def original(model: NestedEncoder, data: Data) -> list[NestedModel]:
    """The untouched base, whole. Raises `AnysizeError` where the base is not known."""
    base = _base(model)
    return [NestedEncoder(Nesting(layers=(base.depth,), dims=(base.width,)), base)]


def truncate(model: NestedEncoder, data: Data) -> list[NestedModel]:
    """The base with fewer blocks and coordinates."""
    cut = NestedEncoder(Nesting.pairs(list(model.nesting)), _base(model))
    return [cut.at(size) for size in cut.nesting]


def pca(model: NestedEncoder, data: Data) -> list[NestedModel]:
    """The base with fewer blocks, each depth turned to its principal directions, fitted on `data`'s corpus."""
    base = _base(model)
    cut = NestedEncoder(Nesting.pairs(list(model.nesting)), base)
    features = cut.features(data.texts, side="document", progress=True, **precision(model))
    cut.rotations = {depth: principal_rows(features[:, place], base.width) for place, depth in enumerate(cut.depths)}
    return [cut.at(size) for size in cut.nesting]


def _base(model: NestedEncoder) -> Backbone:
    source = model.about.get("options", {}).get("model")
    if source is None:
        raise AnysizeError("this model does not say which model it was made from, so it has no such rival")
    base = Backbone.of(Encoder(source).model)
    base.eval()
    return base
