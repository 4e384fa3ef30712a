"""What a nested vision-language model stands beside: one cut after training, one a budget, one random budget a step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from anysize.core.verbs.rivals import check_same_data, method_of

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.model.contract import NestedModel
    from anysize.tokens.vlm.holding import HoldsVLM


def full_cut(model: HoldsVLM, data: Data) -> list[NestedModel]:
    """The rival ``full-cut``: the same training with all tokens at every step, cut to each budget afterwards."""
    check_same_data(model, data, "full-cut")
    whole = method_of(model).at_full().fit(data)
    cut = whole.again(model.nesting)
    return [cut.at(size) for size in model.nesting]


def random(model: HoldsVLM, data: Data) -> list[NestedModel]:
    """The rival ``random``: one of the budgets at each step, in place of all."""
    check_same_data(model, data, "random")
    made = replace(method_of(model), draw="random").fit(data)
    return [made.at(size) for size in model.nesting]
