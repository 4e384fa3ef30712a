"""What a nested encoder is compared with: its base cut as it is, or along principal directions; one-size twins."""

from __future__ import annotations

from typing import Any

from anysize.core.errors import AnysizeError
from anysize.core.model import NestedModel
from anysize.core.sizes import Nesting
from anysize.core.twins import check_arm, check_same_data, method_of
from anysize.text.backbone import Backbone
from anysize.text.nested_encoder import NestedEncoder

RIVALS = ("truncate", "pca", "single", "original")


def rival(model: NestedEncoder, name: str, data: Any) -> list[NestedModel]:
    """
    Views of one rival of `model`, smallest first.

    ``original``: the untouched base, whole. ``truncate``: the base with fewer blocks and coordinates. ``pca``: the
    same, each depth turned to its principal directions, fitted on `data`'s corpus. ``single``: for each size, a model
    trained for that size alone with the same method, data and steps. Raises `AnysizeError` for any other name, or
    where the base or the method is not known.
    """
    check_arm(name, RIVALS)
    if name == "single":
        return _single(model, data)
    base = _base(model)
    if name == "original":
        return [NestedEncoder(_whole(base), base)]
    cut = NestedEncoder(Nesting.pairs(list(model.nesting)), base)
    if name == "pca":
        from anysize.text.head import principal_rows

        features = cut.features(data.texts, side="document", progress=True)
        cut.rotations = {
            depth: principal_rows(features[:, place], base.width) for place, depth in enumerate(cut.levels)
        }
    return [cut.at(size) for size in cut.nesting]


def _base(model: NestedEncoder) -> Backbone:
    from anysize.text.encoder import Encoder

    source = model.about.get("options", {}).get("model")
    if source is None:
        raise AnysizeError("this model does not say which model it was made from, so it has no such rival")
    base = Backbone.of(Encoder(source).model)
    base.eval()
    return base


def _whole(base: Backbone) -> Nesting:
    return Nesting(layers=(base.depth,), dims=(base.width,))


def _single(model: NestedEncoder, data: Any) -> list[NestedModel]:
    method = method_of(model)
    check_same_data(model, data, "single")
    return [method.single(size).fit(data) for size in model.nesting]
