"""anysize: train once, run at any size."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as type checkers know it, without the time that importing typing takes

# Public name -> where it lives. Imported on first use, so that `anysize --help` never waits for torch.
_HOMES = {
    "AnysizeError": "anysize.core.errors",
    "CheckpointError": "anysize.core.errors",
    "DataError": "anysize.core.errors",
    "SizeError": "anysize.core.errors",
    "Size": "anysize.core.sizes.nesting",
    "Nesting": "anysize.core.sizes.nesting",
    "NestedModel": "anysize.core.model.contract",
    "nested_loss": "anysize.core.losses.nested",
    "Distill": "anysize.core.losses.nested",
    "Cost": "anysize.core.model.cost",
    "Data": "anysize.core.data.data",
    "read": "anysize.core.data.read",
    "Frontier": "anysize.core.frontier.frontier",
    "Record": "anysize.core.frontier.record",
    "load": "anysize.core.verbs.load",
    "fit": "anysize.core.verbs.fit",
    "measure": "anysize.core.verbs.measure",
    "run": "anysize.core.verbs.run",
    "__version__": "anysize.core.version",
    "Index": "anysize.search",
    "Stage": "anysize.search",
}
_MODULES = ("testing", "text", "classify", "search")

if TYPE_CHECKING:
    from typing import Any

    from anysize.core.data.data import Data as Data
    from anysize.core.data.read import read as read
    from anysize.core.errors import AnysizeError as AnysizeError
    from anysize.core.errors import CheckpointError as CheckpointError
    from anysize.core.errors import DataError as DataError
    from anysize.core.errors import SizeError as SizeError
    from anysize.core.frontier.frontier import Frontier as Frontier
    from anysize.core.frontier.record import Record as Record
    from anysize.core.losses.nested import Distill as Distill
    from anysize.core.losses.nested import nested_loss as nested_loss
    from anysize.core.model.contract import NestedModel as NestedModel
    from anysize.core.model.cost import Cost as Cost
    from anysize.core.sizes.nesting import Nesting as Nesting
    from anysize.core.sizes.size import Size as Size
    from anysize.core.verbs.load import load as load
    from anysize.core.verbs.run import run as run
    from anysize.core.version import __version__ as __version__

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"anysize.{name}")
    raise AttributeError(f"module 'anysize' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
