"""
Rows that a model makes of texts while an autoencoder learns from them: nothing of them is stored.

The model reads the texts in groups, in an order that each pass mixes anew. Rows wait in a buffer; whenever it is half
empty it is filled up and mixed, as trainers of autoencoders on language models do. What the buffer holds at any step
follows from the seed and from how many rows each group gives, so a resumed run rebuilds it from those numbers and
reads again only the groups that are in it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from anysize.core.digests import is_sealed, write_sealed
from anysize.core.errors import DataError
from anysize.core.training.processes import all_have, part_of, place
from anysize.sparse.rows.stored import SparseBatch, is_held_out

Run = Callable[[list[str]], np.ndarray]
_SAMPLE = 1 << 14  # rows from which mean and scale are taken
_MOST_HELD = 32_768  # rows of the held-out groups that are kept to calibrate on


@dataclass(frozen=True)
class Groups:
    """Texts as a model reads them, so many at a time; a tenth of the groups, by a hash of the place, never trains."""

    texts: Sequence[str]
    size: int

    def __len__(self) -> int:
        return -(-len(self.texts) // self.size)

    def of(self, number: int) -> list[str]:
        """The texts of one group."""
        return list(self.texts[number * self.size : (number + 1) * self.size])

    @cached_property
    def held(self) -> np.ndarray:
        """(groups,) which are held out. Raises `DataError` if there is only one."""
        if len(self) < 2:
            raise DataError(
                f"{len(self.texts)} texts are too few to stream, which takes {self.size} at a time; give more, or "
                "leave out stream"
            )
        return is_held_out(np.arange(len(self)), len(self))

    def texts_of(self, *, held: bool) -> list[str]:
        """The texts of the groups that are held out, or of the others."""
        return [text for number in np.flatnonzero(self.held == held) for text in self.of(int(number))]


class StreamRows:
    """
    Batches from a model that runs beside the training; `buffer` rows wait at most, and what one group adds.

    `folder` keeps how many rows each group gave. Raises `DataError` for fewer than two groups of texts.
    """

    def __init__(self, groups: Groups, run: Run, *, buffer: int, seed: int = 0, folder: Path | None = None) -> None:
        self.groups, self.buffer, self.seed = groups, buffer, seed
        self._run, self._held = run, groups.held
        self._note = None if folder is None else folder / f"stream-{place()[0]}.npy"
        self.counts = np.full(len(groups), -1)
        if self._note is not None and is_sealed(self._note):  # else the groups are counted again
            self.counts = np.load(self._note, allow_pickle=False)

    def read(self, group: int) -> np.ndarray:
        """The rows of one group, (n, d) float32."""
        rows = self._run(self.groups.of(group))
        self.counts[group] = len(rows)
        return rows

    @cached_property
    def _sampled(self) -> tuple[int, np.ndarray]:
        """How many groups of training texts were read first, drawn at random, and their rows."""
        found: list[np.ndarray] = []
        for group in np.random.default_rng(self.seed).permutation(np.flatnonzero(~self._held)):
            found.append(self.read(int(group)))
            if sum(map(len, found)) >= _SAMPLE:
                break
        return len(found), np.concatenate(found)

    @property
    def width(self) -> int:
        """Coordinates of a row."""
        return int(self._sampled[1].shape[1])

    @property
    def count(self) -> int:
        """About how many rows a pass holds, judged by the groups that were read first."""
        groups, rows = self._sampled
        return round(len(rows) / groups * int((~self._held).sum()))

    def sample(self) -> torch.Tensor:
        """The rows that were read first."""
        return torch.from_numpy(self._sampled[1])

    def held_out(self) -> torch.Tensor:
        """Rows of the groups that training never sees, at most 32,768."""
        found: list[np.ndarray] = []
        for group in np.flatnonzero(self._held):
            found.append(self.read(int(group)))
            if sum(map(len, found)) >= _MOST_HELD:
                break
        return torch.from_numpy(np.concatenate(found)[:_MOST_HELD])

    def batches(self, number: int, size: int, skip: int = 0) -> Iterator[SparseBatch]:
        """The whole batches of pass `number`, without its first `skip`; of several processes each reads its texts."""
        rank, world = place()
        rng = np.random.default_rng((self.seed, number))
        order = rng.permutation(np.flatnonzero(~self._held))[rank::world]
        buffer = _Buffer(self, order, np.random.default_rng((self.seed, number, rank)), later=skip > 0)
        part, done = part_of(size), 0
        while all_have(buffer.ready(part)):
            if done >= skip:
                yield SparseBatch(torch.from_numpy(buffer.rows(part)))
            buffer.drop(part)
            done += 1

    def note(self) -> None:
        """Write down how many rows the groups gave so far."""
        if self._note is not None:
            content = io.BytesIO()
            np.save(content, self.counts)
            write_sealed(self._note, content.getvalue())


class _Buffer:
    """The rows that wait, as places (group, row); if their values come `later`, from the first time they are needed."""

    def __init__(self, source: StreamRows, order: np.ndarray, rng: np.random.Generator, *, later: bool) -> None:
        self.source, self.order, self.rng = source, order, rng
        self.next = 0  # of the order
        self.places = np.empty((0, 2), np.int64)
        self.values = None if later else np.empty((0, source.width), np.float32)  # (rows, d)

    def ready(self, count: int) -> bool:
        """Whether so many rows can be had, after filling up a buffer that is half empty."""
        if len(self.places) < max(count, self.source.buffer // 2):
            self._fill(max(count, self.source.buffer))
        return len(self.places) >= count

    def rows(self, count: int) -> np.ndarray:
        """The values of the next rows, (count, d)."""
        if self.values is None:
            self.values = self._again()
        return self.values[-count:].copy()

    def drop(self, count: int) -> None:
        """Leave the next rows behind."""
        self.places = self.places[:-count]
        if self.values is not None:
            self.values = self.values[:-count]

    def _fill(self, wanted: int) -> None:
        places, values, have = [self.places], [self.values], len(self.places)
        begun = self.next
        while have < wanted and self.next < len(self.order):
            group = int(self.order[self.next])
            count = self.source.counts[group]
            if self.values is not None or count < 0:
                values.append(self.source.read(group))
                count = self.source.counts[group]
            places.append(np.stack([np.full(count, group), np.arange(count)], axis=1))
            have, self.next = have + count, self.next + 1
        if self.next == begun:
            return
        mixed = self.rng.permutation(have)
        self.places = np.concatenate(places)[mixed]
        if self.values is not None:
            self.values = np.concatenate([part for part in values if part is not None])[mixed]
        self.source.note()

    def _again(self) -> np.ndarray:
        """The values of all places: each group that still has a row here is read."""
        found = np.empty((len(self.places), self.source.width), np.float32)
        for group in np.unique(self.places[:, 0]):
            here = self.places[:, 0] == group
            found[here] = self.source.read(int(group))[self.places[here, 1]]
        return found
