"""What is added to one weight, window by window: outer products, or whole differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from anysize.core.errors import AnysizeError


@dataclass(frozen=True)
class LowRank:
    """
    An outer product for each window of each edit.

    ``left`` is (windows, edits, rows), ``right`` (windows, edits, columns).
    """

    left: torch.Tensor
    right: torch.Tensor

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self.left)

    def change(self, windows: int | None = None) -> torch.Tensor:
        """What the first so many windows add, (rows, columns)."""
        left, right = (one[:windows].flatten(0, 1) for one in (self.left, self.right))
        return left.T @ right

    def without(self, edits: Sequence[int]) -> LowRank:
        """The same without some of the edits."""
        kept = [edit for edit in range(self.left.shape[1]) if edit not in edits]
        return LowRank(self.left[:, kept], self.right[:, kept])

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is stored, each cut along its first dimension."""
        return {"left": self.left, "right": self.right}


@dataclass(frozen=True)
class Whole:
    """A difference for each window: ``steps`` (windows, ...), of all edits together."""

    steps: torch.Tensor

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self.steps)

    def change(self, windows: int | None = None) -> torch.Tensor:
        """What the first so many windows add."""
        return self.steps[:windows].sum(0)

    def without(self, edits: Sequence[int]) -> Whole:
        """Raises `AnysizeError`: the edits were learnt together."""
        raise AnysizeError(
            "these edits were fine-tuned together, and none can be taken out; write with memit or alphaedit for that"
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is stored, cut along its first dimension."""
        return {"steps": self.steps}


Change = LowRank | Whole


def change_of(tensors: dict[str, Any]) -> Change:
    """What `tensors` gave. Raises `KeyError` for anything else."""
    return Whole(tensors["steps"]) if "steps" in tensors else LowRank(tensors["left"], tensors["right"])


def stored(changes: Mapping[str, Change]) -> dict[str, torch.Tensor]:
    """The changes of several weights as one flat mapping, by weight and part."""
    parts = ((name, part, value) for name, one in changes.items() for part, value in one.tensors().items())
    return {f"{name}|{part}": value.contiguous() for name, part, value in parts}


def changes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, Change]:
    """What `stored` gave, by weight. Raises `KeyError` for anything else."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in tensors.items():
        weight, _, part = name.rpartition("|")
        parts.setdefault(weight, {})[part] = value
    return {name: change_of(found) for name, found in parts.items()}


def joined(changes: Sequence[Change]) -> Change:
    """Several changes of one weight as one; shorter ones have zeros at the end."""
    most = max(one.windows for one in changes)
    if all(isinstance(one, LowRank) for one in changes):
        sides = [{name: _longer(value, most) for name, value in one.tensors().items()} for one in changes]
        return LowRank(*(torch.cat([side[name] for side in sides], dim=1) for name in ("left", "right")))
    steps = []
    for one in changes:
        each = [one.change(j) for j in range(most + 1)]  # no windows add nothing
        steps.append(torch.stack([after - before for before, after in pairwise(each)]))
    return Whole(torch.stack(steps).sum(0))


def _longer(value: torch.Tensor, most: int) -> torch.Tensor:
    more = torch.zeros(most - len(value), *value.shape[1:], dtype=value.dtype)
    return torch.cat([value, more])
