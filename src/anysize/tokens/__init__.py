"""Pictures, sounds and films in as many tokens as a budget allows."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "FrameRate": "anysize.tokens.budget.frames",
    "Frames": "anysize.tokens.budget.frames",
    "GridPool": "anysize.tokens.budget.grid",
    "MatryoshkaQueryTransformer": "anysize.tokens.budget.queries",
    "Prefix": "anysize.tokens.budget.operator",
    "TokenBudget": "anysize.tokens.budget.operator",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'anysize.tokens' has no attribute {name!r}")
