"""What a nested embedder is compared with: the model it came from, cut, rotated, or trained for one size alone."""

from __future__ import annotations

from collections.abc import Mapping

from anysize.backbones.sentence import Encoder
from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError
from anysize.core.model.contract import NestedModel
from anysize.core.scratch import temporary_folder
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.rivals import check_same_data, method_of
from anysize.core.verbs.rivals import single as one_each
from anysize.evaluation.once import precision
from anysize.evaluation.principal import principal_rows
from anysize.text.embedder.fit import head, training_features
from anysize.text.embedder.model import Embedder


def original(model: Embedder, data: Data) -> list[NestedModel]:
    """The untouched base at its own width. Raises `AnysizeError` where the base is not known."""
    return [_base(model)]


def truncate(model: Embedder, data: Data) -> list[NestedModel]:
    """The first coordinates of the untouched base."""
    return _cut(model, _base(model))


def pca(model: Embedder, data: Data) -> list[NestedModel]:
    """The principal directions of the untouched base, fitted on `data`'s corpus."""
    return _cut(model, _principal(_base(model), data, precision(model)))


def single(model: Embedder, data: Data) -> list[NestedModel]:
    """For each size, a model trained for it alone; heads share one pass of the encoder. `data` as `model` had them."""
    method = method_of(model)
    if method.tune == "full":
        return one_each(model, data)
    check_same_data(model, data, "single")
    columns = training_features(method, data, model.encoder)
    twins: list[NestedModel] = []
    for size in model.nesting:
        with temporary_folder() as scratch:
            twin = head(method.single(size), columns, scratch)
        twin.encoder = model.encoder
        twins.append(twin)
    return twins


def _cut(model: Embedder, base: Embedder) -> list[NestedModel]:
    widths = [dims for dims in model.nesting.values("dims") if dims <= base.nesting.full.dims]
    cut = _renested(base, tuple(widths))
    return [cut.at(dims=dims) for dims in widths]


def _base(model: Embedder) -> Embedder:
    encoder = model.encoder
    if model.weight is None:
        name = model.about.get("options", {}).get("model")
        if name is None:
            raise AnysizeError("this model does not say which model it was tuned from, so it has no such rival")
        encoder = Encoder(name)
    return Embedder(Nesting(dims=(model.in_features,)), model.in_features, encoder=encoder)


def _principal(base: Embedder, data: Data, how: Mapping[str, bool]) -> Embedder:
    items = data.items()
    if base.encoder is not None and items.vectors is None:
        base.encoder.keep_embeddings()
    features = items.vectors
    if features is None:
        features = base.features(items.texts or [], side="document", progress=True, **how)
    return Embedder(
        base.nesting, base.in_features, encoder=base.encoder, weight=principal_rows(features, base.in_features)
    )


def _renested(base: Embedder, dims: tuple[int, ...]) -> Embedder:
    weight = None if base.weight is None else base.weight[: dims[-1]].detach()
    return Embedder(Nesting(dims=dims), base.in_features, encoder=base.encoder, weight=weight)
