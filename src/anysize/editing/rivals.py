"""What an edited model is measured beside: the same edits made otherwise, in the same unedited model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from anysize.core.data.data import Data
from anysize.core.scratch import temporary_folder
from anysize.core.verbs.rivals import method_of
from anysize.editing.fit import edited
from anysize.editing.model.model import AXIS, EditedLM


def window(model: EditedLM, data: Data) -> list[EditedLM]:
    """Window by window, as AnyEdit: each shift is fitted to its own window alone."""
    made = _again(model, "window", coefficients="window")
    return [made.at(size) for size in made.nesting]


def one_for_all(model: EditedLM, data: Data) -> list[EditedLM]:
    """One shift for the whole target, at the full size."""
    return [_again(model, "one-for-all", splitter="whole")]


def fine_tuned(model: EditedLM, data: Data) -> list[EditedLM]:
    """The same blocks, fine-tuned on the targets (FT-UKE), at the full size."""
    return [_again(model, "ft", writer="ft", sequential=False, lr=None)]


def original(model: EditedLM, data: Data) -> list[EditedLM]:
    """The unedited model."""
    return [model.at().before()]


def _again(model: EditedLM, arm: str, **options: Any) -> EditedLM:
    """The same edits with other options; what has one window stands at the full size of the model."""
    method = replace(method_of(model), **options)
    with temporary_folder() as scratch:
        made = edited(model.inner, method, model.requests, scratch)
    if made.nesting.full != model.nesting.full and made.nesting.full[AXIS] == 1:
        made = EditedLM.of(model.inner, made.delta(), made.told, int(model.nesting.full[AXIS]))
    made.told["arm"] = arm
    return made
