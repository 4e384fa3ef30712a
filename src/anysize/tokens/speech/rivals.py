"""What a model of speech at several rates stands beside: one that learnt at the richest alone, pooled harder later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anysize.core.errors import AnysizeError
from anysize.core.verbs.rivals import check_same_data, method_of

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.model.contract import NestedModel
    from anysize.tokens.speech.model import NestedSpeech


def free(model: NestedSpeech, data: Data) -> list[NestedModel]:
    """The rival ``free``: trained at the most tokens alone, and given fewer; needs no training for a further rate."""
    check_same_data(model, data, "free")
    if model.spec["mode"] == "stack":
        raise AnysizeError("the arm free gives one projector other rates than its own, which stacked frames do not fit")
    rich = method_of(model).at_full().fit(data)
    cut = rich.again(model.nesting)
    return [cut.at(size) for size in model.nesting]
