"""
What a closed form keeps as it is: the second moments of keys over texts, and the keys of other prompts.

The first position of a text is left out of the moments: models park attention there, with states hundreds of times
longer than any other. The last tokens of a chat template are nearly the same for every prompt, and the first shift
stands on one of them; without the keys of other prompts it would be written for every question there is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from anysize.backbones.generating import continued
from anysize.core.errors import DataError
from anysize.core.files import write_bytes
from anysize.editing.requests.prompting import Prompting
from anysize.editing.writing.projection import Projection, keeping_inputs
from anysize.editing.writing.usual import PASSAGES, QUESTIONS

BEFORE, AFTER = 6, 12
"""Of another prompt: its last tokens, and the first that the model answers, whose keys are kept."""
_LONGEST, _BATCH = 256, 8


@dataclass
class Preserved:
    """Texts, and prompts with what the model answers, of which keys are kept."""

    lm: Any
    prompting: Prompting
    texts: Sequence[str] = PASSAGES
    prompts: Sequence[str] = QUESTIONS
    fingerprint: str | None = None
    """Of the model, by which moments are kept in the user's cache; None keeps none."""
    _answered: list[tuple[list[int], int]] | None = field(default=None, repr=False)
    _others: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.texts:
            raise DataError("there is no text whose keys could be kept; name a file that holds some")

    def of(self, lm: Any) -> Preserved:
        """The same prompts with the same answers, in a model that holds edits; itself for its own model."""
        if lm is self.lm:
            return self
        return Preserved(lm, self.prompting, self.texts, self.prompts, None, self.answered)

    @property
    def answered(self) -> list[tuple[list[int], int]]:
        """Ids of each prompt with the model's own answer, and where the answer begins."""
        if self._answered is None:
            most = min(self.prompting.places - AFTER, _LONGEST)
            asked = [self.prompting.prompt(one)[-most:] for one in self.prompts]
            said: list[list[int]] = []
            for begin in range(0, len(asked), _BATCH):  # what attention keeps of all of them at once is large
                some = asked[begin : begin + _BATCH]
                said += continued(self.lm, some, lambda _, logits: int(logits.argmax()), most=AFTER, ends=())
            self._answered = [([*ids, *more], len(ids)) for ids, more in zip(asked, said, strict=True)]
        return self._answered

    @torch.no_grad()
    def moments(self, where: Projection) -> torch.Tensor:
        """The uncentred second moments of a projection's keys per token of the texts, (in, in) float64."""
        file = self._file(where)
        if file is not None and file.is_file():
            from safetensors.torch import load

            return load(file.read_bytes())["moments"].double()
        total, count = None, 0
        for text in self.texts:
            ids = self.prompting.tokenizer(text, truncation=True, max_length=min(_LONGEST, self.prompting.places))
            keys = self.keys(where, ids["input_ids"])[1:]
            if len(keys):
                found = keys.T @ keys
                total, count = found if total is None else total + found, count + len(keys)
        if total is None:
            raise DataError("the texts whose keys are to be kept hold no token but the first; name longer ones")
        if file is not None:
            from safetensors.torch import save

            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_bytes(file, save({"moments": (total / count).float().contiguous()}))
        return total / count

    def keys(self, where: Projection, ids: Sequence[int]) -> torch.Tensor:
        """What a projection reads at every token of a sequence, (tokens, in) float64."""
        with torch.no_grad(), keeping_inputs([where.module]) as seen:
            self.lm(input_ids=torch.tensor([list(ids)], device=self._device), use_cache=False)
        return seen[0][0].reshape(len(ids), -1).double()

    def others(self, where: Projection) -> torch.Tensor:
        """Keys of other prompts, where their answers begin, (n, in); found once, as the model stays as it is."""
        if where.name not in self._others:
            found = [self.keys(where, ids)[max(start - BEFORE, 0) :] for ids, start in self.answered]
            self._others[where.name] = torch.cat(found)
        return self._others[where.name]

    @property
    def _device(self) -> torch.device:
        return next(iter(self.lm.parameters())).device

    def _file(self, where: Projection) -> Path | None:
        """Where moments of this model, place and these texts are kept."""
        if self.fingerprint is None:
            return None
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = base if base.is_absolute() else Path.home() / ".cache"
        texts = hashlib.sha256("\0".join(self.texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return base / "anysize" / "moments" / self.fingerprint[:32] / f"{where.name}-{texts}.safetensors"
