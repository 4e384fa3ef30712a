"""What a nested embedder is compared with: the model it came from, cut, rotated, or trained for one size alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anysize.core.errors import AnysizeError
from anysize.core.model import NestedModel
from anysize.core.scratch import temporary_folder
from anysize.core.sizes import Nesting
from anysize.core.twins import check_arm, check_same_data, method_of

if TYPE_CHECKING:
    from anysize.text.embedder import Embedder

RIVALS = ("truncate", "pca", "single", "original")


def rival(model: Embedder, name: str, data: Any) -> list[NestedModel]:
    """
    Views of one rival of `model`, smallest first.

    ``original``: the untouched base at its own width. ``truncate``: its first coordinates. ``pca``: its principal
    directions, fitted on `data`'s corpus. ``single``: for each size, a model trained for that size alone with the
    same method, data and steps, so `data` must be what `model` was fitted on. Raises `AnysizeError` for any other
    name or data, or where the base is not known.
    """
    check_arm(name, RIVALS)
    if name == "single":
        return _single(model, data)
    base = _base(model)
    if name == "original":
        return [base]
    if name == "pca":
        base = _principal(base, data)
    widths = [dims for dims in model.nesting.levels("dims") if dims <= base.nesting.full.dims]
    cut = _renested(base, tuple(widths))
    return [cut.at(dims=dims) for dims in widths]


def _base(model: Embedder) -> Embedder:
    from anysize.text.embedder import Embedder
    from anysize.text.encoder import Encoder

    encoder = model.encoder
    if model.weight is None:
        name = model.about.get("options", {}).get("model")
        if name is None:
            raise AnysizeError("this model does not say which model it was tuned from, so it has no such rival")
        encoder = Encoder(name)
    return Embedder(Nesting(dims=(model.in_features,)), model.in_features, encoder=encoder)


def _principal(base: Embedder, data: Any) -> Embedder:
    from anysize.text.embedder import Embedder
    from anysize.text.head import principal_rows

    items = data.items()
    features = base.features(items.texts or [], side="document") if items.vectors is None else items.vectors
    return Embedder(
        base.nesting, base.in_features, encoder=base.encoder, weight=principal_rows(features, base.in_features)
    )


def _renested(base: Embedder, dims: tuple[int, ...]) -> Embedder:
    from anysize.text.embedder import Embedder

    weight = None if base.weight is None else base.weight[: dims[-1]].detach()
    return Embedder(Nesting(dims=dims), base.in_features, encoder=base.encoder, weight=weight)


def _single(model: Embedder, data: Any) -> list[NestedModel]:
    method = method_of(model)
    check_same_data(model, data, "single")
    twins: list[NestedModel] = []
    if method.tune == "full":
        return [method.single(size.dims).fit(data) for size in model.nesting]
    columns = method.training_features(data, model.encoder)
    for size in model.nesting:
        with temporary_folder() as scratch:
            twin = method.single(size.dims).head(columns, scratch)
        twin.encoder = model.encoder
        twins.append(twin)
    return twins
