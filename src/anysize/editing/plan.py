"""One edit before it is written: its windows and shifts, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anysize.core.digests import is_sealed, write_sealed
from anysize.core.model.checkpoint import tensors_of
from anysize.editing.deltas.changes import Change, changes_of, stored
from anysize.editing.requests.prompting import Encoded, Prompting
from anysize.editing.requests.request import EditRequest
from anysize.editing.shifts.optimise import Found


@dataclass
class Plan:
    """One edit, before it is written."""

    request: EditRequest
    encoded: Encoded
    bounds: list[int]
    found: Found | None
    """None where the answer is fine-tuned on, without shifts."""
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """What a model says of how this edit was made."""
        told: dict[str, Any] = {"id": self.request.id, "bounds": self.bounds, "seconds": round(self.seconds, 3)}
        if self.found is not None:
            rounded = [[round(one, 5) for one in row] for row in self.found.nll]
            told |= {"injected_nll": rounded, "steps": self.found.steps, "affinities": self.found.affinities}
        return told

    def save(self, file: Path, changes: Mapping[str, Change]) -> None:
        """Keep it, and what writes it where that is known already."""
        from safetensors.torch import save

        tensors = stored(changes)
        said: dict[str, Any] = {"bounds": self.bounds, "seconds": self.seconds}
        if self.found is not None:
            tensors |= {"shifts": self.found.shifts, "states": self.found.states.contiguous()}
            said |= {name: getattr(self.found, name) for name in ("places", "nll", "steps", "affinities")}
        write_sealed(file, save(tensors, {"plan": json.dumps(said)}))


def kept_plan(file: Path, request: EditRequest, prompting: Prompting) -> tuple[Plan, dict[str, Change]] | None:
    """What `Plan.save` kept, if it is whole."""
    if not is_sealed(file):
        return None
    held, words = tensors_of(file)
    said = json.loads(words["plan"])
    found = None
    if "shifts" in held:
        shifts, states = held.pop("shifts"), held.pop("states")
        found = Found(said["places"], said["bounds"], shifts, states, said["nll"], said["steps"], said["affinities"])
    return Plan(request, prompting.encode(request), said["bounds"], found, said["seconds"]), changes_of(held)
