"""
Shifts written by a closed form: MEMIT (Meng et al. 2023) and AlphaEdit (Fang et al. 2025).

With keys K (in, n) at the shifted places and residuals R (out, n), the change of the weight is R X^T, with X (in, n):
MEMIT's is (lambda C + P P^T + K K^T)^-1 K, where C holds the second moments of keys over texts and P the keys of all
that shall stay; AlphaEdit's first projects K onto the directions that texts hardly use. Column by column it is one
outer product for each window: the first so many of them are the write of the first windows, with the keys of the later
ones among what stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from anysize.core.errors import AnysizeError
from anysize.editing.deltas.changes import LowRank
from anysize.editing.deltas.delta import Delta
from anysize.editing.requests.prompting import Encoded
from anysize.editing.shifts.optimise import Found
from anysize.editing.shifts.suffix import Suffix
from anysize.editing.writing.preserve import Preserved
from anysize.editing.writing.projection import Projection, projection

RIDGE = 0.05
"""Of the mean second moment, added to all directions: few texts leave most directions unseen."""


@dataclass(frozen=True)
class Solving:
    """Which closed form, and how much what stays weighs in it."""

    form: Literal["memit", "alphaedit"] = "memit"
    weight: float = 10.0
    """MEMIT: times the second moments per token."""
    null: float = 0.02
    """AlphaEdit: directions whose moment is below so many times the mean are free."""
    l2: float = 0.1
    """AlphaEdit: times the mean moment, added to all directions."""

    def columns(self, keys: torch.Tensor, stay: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
        """X (in, n) for keys (n, in) to write and (m, in) to stay, and moments (in, in)."""
        mean = float(moments.diagonal().mean())
        if self.form == "memit":
            system = (self.weight * moments).addmm_(keys.T, keys).addmm_(stay.T, stay)  # in place: these are large
            system.diagonal().add_(self.weight * RIDGE * mean)
            return torch.cholesky_solve(keys.T, torch.linalg.cholesky(system))
        values, vectors = torch.linalg.eigh(moments)
        free = vectors[:, values < self.null * mean]
        if not free.shape[1]:
            raise AnysizeError(
                f"the texts use every direction of the weight, so AlphaEdit has none to write to; raise null above "
                f"{self.null:g}, or write with memit"
            )
        projector = free @ free.T
        system = projector @ (keys.T @ keys).addmm_(stay.T, stay)
        system.diagonal().add_(self.l2 * mean)
        return torch.linalg.solve(system, projector @ keys.T)


def write(
    lm: Any,
    edits: Sequence[tuple[Encoded, Found]],
    layers: Sequence[int],
    preserved: Preserved,
    solving: Solving,
    *,
    named: str | None = None,
    stay: Sequence[Encoded] = (),
) -> dict[str, LowRank]:
    """
    The changes of one weight a layer that write all these shifts, found at the last of `layers`.

    Each layer takes an equal share of what is left of the way, as in MEMIT. `stay` are earlier edits, whose keys are
    kept. Raises `AnysizeError` where a layer has no such weight.
    """
    most = max(len(found.places) for _, found in edits)
    changes: dict[str, LowRank] = {}
    for done, layer in enumerate(layers):
        now = Delta(changes, (), "").view(lm) if changes else lm
        where, suffix = projection(now, layer, named), Suffix(now, layers[-1])
        asked = preserved.of(now)
        rest = [asked.others(where), *(asked.keys(where, one.ids) for one in stay)]
        keys, residuals = [], []
        for encoded, found in edits:
            every = asked.keys(where, encoded.ids[:-1])
            at = torch.tensor(found.places)
            kept = torch.ones(len(every), dtype=torch.bool)
            kept[at] = False
            states = suffix.states(encoded.ids[:-1])[0][0, at].float()
            residuals.append((found.states + found.shifts - states) / (len(layers) - done))
            keys.append(every[at])
            rest.append(every[kept])
        moments = preserved.moments(projection(preserved.lm, layer, named))  # of the model as it was
        columns = solving.columns(torch.cat(keys).cpu(), torch.cat(rest).cpu(), moments.cpu())
        changes[where.name] = _low_rank(columns.T.float(), residuals, most, where)
    return changes


def _low_rank(columns: torch.Tensor, residuals: Sequence[torch.Tensor], most: int, where: Projection) -> LowRank:
    """Outer products by window and edit; an edit with fewer windows than others has zeros at the end."""
    left = torch.zeros(most, len(residuals), residuals[0].shape[1])
    right = torch.zeros(most, len(residuals), columns.shape[1])
    begin = 0
    for edit, found in enumerate(residuals):
        left[: len(found), edit] = found.cpu()
        right[: len(found), edit] = columns[begin : begin + len(found)]
        begin += len(found)
    return LowRank(right, left) if where.turned else LowRank(left, right)
