"""anysize: train once, run at any size."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as type checkers know it, without the time that importing typing takes

__version__ = "0.1.0"

# Public name -> where it lives. Imported on first use, so that `anysize --help` never waits for torch.
_HOMES = {
    "AnysizeError": "core.errors",
    "CheckpointError": "core.errors",
    "DataError": "core.errors",
    "SizeError": "core.errors",
    "Size": "core.sizes",
    "Nesting": "core.sizes",
    "NestedModel": "core.model",
    "nested_loss": "core.objective",
    "Distill": "core.objective",
    "Cost": "core.cost",
    "Data": "core.data",
    "read": "core.data",
    "Frontier": "core.frontier",
    "Record": "core.frontier",
    "load": "core.registry",
    "fit": "core.fitting",
    "pretrain": "core.pretraining",
    "measure": "core.measuring",
    "Index": "search",
    "Stage": "search",
}
_MODULES = ("testing", "text", "classify", "search")

if TYPE_CHECKING:
    from typing import Any

    from anysize.core.cost import Cost as Cost
    from anysize.core.data import Data as Data
    from anysize.core.data import read as read
    from anysize.core.errors import AnysizeError as AnysizeError
    from anysize.core.errors import CheckpointError as CheckpointError
    from anysize.core.errors import DataError as DataError
    from anysize.core.errors import SizeError as SizeError
    from anysize.core.frontier import Frontier as Frontier
    from anysize.core.frontier import Record as Record
    from anysize.core.model import NestedModel as NestedModel
    from anysize.core.objective import Distill as Distill
    from anysize.core.objective import nested_loss as nested_loss
    from anysize.core.registry import load as load
    from anysize.core.sizes import Nesting as Nesting
    from anysize.core.sizes import Size as Size

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"anysize.{_HOMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"anysize.{name}")
    raise AttributeError(f"module 'anysize' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
