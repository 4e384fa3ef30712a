"""
A delta: the changes that some edits make, the requests, and the fingerprint of the model that they belong to.

One safetensors file holds all of it: tensors ``WEIGHT|left``, ``|right`` or ``|steps``, and JSON under
``anysize.delta`` in its metadata. Nothing is unpickled; a file is written in one step.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from anysize.backbones.twins import with_weights
from anysize.core.arguments import PATH, TEXT, instance, many, takes, whole
from anysize.core.errors import AnysizeError, CheckpointError, SizeError, refused_as_damaged
from anysize.core.files import write_bytes
from anysize.core.model.checkpoint import raw_bytes, tensors_of
from anysize.editing.deltas.changes import Change, changes_of, joined, stored
from anysize.editing.requests.request import EditRequest, check_together

_SAID = "anysize.delta"


def fingerprint_of(lm: Any) -> str:
    """Identifies a language model by all its weights; those that modules share count once."""
    digest = hashlib.sha256()
    for name, weight in sorted(lm.named_parameters()):
        digest.update(f"{name}\0{tuple(weight.shape)}\0{weight.dtype}\0".encode())
        digest.update(raw_bytes(weight))
    return digest.hexdigest()


@dataclass(frozen=True)
class Delta:
    """Changes of weights by name, and what they are for."""

    changes: Mapping[str, Change]
    requests: tuple[EditRequest, ...]
    base: str
    """The fingerprint of the model that was edited."""

    @property
    def windows(self) -> int:
        """Windows of the longest edit."""
        return max(one.windows for one in self.changes.values())

    def check(self, lm: Any) -> None:
        """Raise `CheckpointError` for another model than the one that was edited."""
        here = fingerprint_of(lm)
        if here != self.base:
            raise CheckpointError(
                f"this delta belongs to another model (fingerprint {self.base[:12]}, and this one has {here[:12]}); "
                "apply it to the model that was edited, in the same precision and without other edits"
            )

    def weights(self, lm: Any, windows: int | None = None) -> dict[str, torch.Tensor]:
        """The changed weights with the first so many windows written."""
        return {
            name: lm.get_parameter(name) + one.change(windows).to(lm.get_parameter(name))
            for name, one in self.changes.items()
        }

    def view(self, lm: Any, windows: int | None = None) -> Any:
        """A copy of the model with these edits, which shares all other weights; the model stays as it is."""
        return with_weights(lm, self.weights(lm, windows))

    @takes(windows=whole())
    @torch.no_grad()
    def apply(self, lm: Any, windows: int | None = None) -> Applied:
        """
        Write the edits into the model itself, of each the first so many windows.

        Raises `CheckpointError` for another model, `SizeError` for more windows than there are.
        """
        if windows is not None and windows > self.windows:
            raise SizeError(f"the longest of these edits has {self.windows} windows; got {windows}")
        self.check(lm)
        before = {name: lm.get_parameter(name).detach().clone() for name in self.changes}
        for name, value in self.weights(lm, windows).items():
            lm.get_parameter(name).copy_(value)
        return Applied(lm, before)

    @takes(ids=many(TEXT, "a list of ids of edits"))
    def without(self, ids: Sequence[str]) -> Delta:
        """
        The same without some edits, by their ids.

        Raises `AnysizeError` for an id that is not there, if none is left, or if they were fine-tuned together.
        """
        known = [one.id for one in self.requests]
        for name in ids:
            if name not in known:
                raise AnysizeError(f"there is no edit {name!r}; there are: {', '.join(known)}")
        out = [place for place, name in enumerate(known) if name in set(ids)]
        if len(out) == len(known):
            raise AnysizeError("that leaves out every edit; the model without edits is the one that was edited")
        requests = tuple(one for place, one in enumerate(self.requests) if place not in out)
        return replace(self, changes={name: one.without(out) for name, one in self.changes.items()}, requests=requests)

    @takes(path=PATH)
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as one safetensors file, in one step."""
        from safetensors.torch import save

        said = {"base": self.base, "requests": [one.to_json() for one in self.requests]}
        write_bytes(Path(path), save(stored(self.changes), {_SAID: json.dumps(said, ensure_ascii=False)}))

    @classmethod
    @takes(path=PATH)
    def load(cls, path: str | os.PathLike[str]) -> Delta:
        """What `save` wrote. Raises `CheckpointError` for anything else."""
        file = Path(path)
        if not file.is_file():
            raise CheckpointError(f"there is no file {file}; expected a file of edits")
        with refused_as_damaged(f"{file} cannot be read as edits"):
            held, words = tensors_of(file)
            said = json.loads(words[_SAID])
            requests = tuple(EditRequest.from_json(one) for one in said["requests"])
            return cls(changes_of(held), requests, str(said["base"]))


@dataclass
class Applied:
    """Edits that stand in a model, and what its weights were before."""

    lm: Any
    before: dict[str, torch.Tensor]

    @torch.no_grad()
    def revert(self) -> None:
        """Put back every changed weight, bit by bit."""
        for name, value in self.before.items():
            self.lm.get_parameter(name).copy_(value)


@takes(deltas=many(instance(Delta, words="a delta"), "a list of deltas"))
def composed(deltas: Sequence[Delta]) -> Delta:
    """
    Several deltas of one model as one.

    Raises `CheckpointError` if they belong to different models, `DataError` for an edit twice or two in conflict.
    """
    if len({one.base for one in deltas}) != 1:
        raise CheckpointError("these deltas belong to different models, or there are none; compose those of one model")
    ids = [one.id for delta in deltas for one in delta.requests]
    requests = tuple(one for delta in deltas for one in delta.requests)
    if len(set(ids)) < len(ids):
        requests = tuple(replace(one, id=str(place)) for place, one in enumerate(requests, start=1))
    check_together(requests)
    found: dict[str, list[Change]] = {}
    for delta in deltas:
        for name, one in delta.changes.items():
            found.setdefault(name, []).append(one)
    if any(len(each) != len(deltas) for each in found.values()):
        raise AnysizeError("these deltas change different weights; compose deltas of one writer and the same layers")
    changes = {name: joined(each) for name, each in found.items()}
    return Delta(changes, requests, deltas[0].base)
