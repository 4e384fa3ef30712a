"""The names that mentions are linked to: codes of each, and their vectors in a nested index, each kept once."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from anysize.coding.linking.vote import Ballot
from anysize.coding.records.dictionary import CodeDictionary
from anysize.coding.records.documents import Document, normalised
from anysize.core.errors import DataError
from anysize.core.files import read_object, write_json
from anysize.core.sizes.nesting import Nesting
from anysize.search.index import Index
from anysize.search.scoring.scan import Scorer, merge
from anysize.search.store.lock import LOCK

SHORT = 32
"""Coordinates that shortlist, where the vectors have more."""


class Names:
    """
    Names with their codes, those of the dictionary first, and beside them an index of their vectors.

    `codes` lists all codes, which `ballot` numbers.
    """

    def __init__(
        self, texts: Sequence[str], codes: Sequence[str], entries: Sequence[dict[int, float]], rows: int
    ) -> None:
        self.texts, self.codes, self.entries, self.rows = list(texts), list(codes), list(entries), rows
        starts = np.cumsum([0, *map(len, self.entries)])
        numbers = np.array([code for one in self.entries for code in one], np.int64)
        counts = np.array([count for one in self.entries for count in one.values()], np.float64)
        self.ballot = Ballot(starts, numbers, counts, np.arange(len(self.texts)) < rows)
        self.official = {next(iter(one)): row for row, one in reversed(list(enumerate(self.entries[:rows])))}
        self.mention = {text: row for row, text in enumerate(self.texts) if row >= rows}
        self._index: Index | None = None

    @classmethod
    def of(cls, dictionary: CodeDictionary, documents: Iterable[Document], *, mentions: bool = True) -> Names:
        """Names of the dictionary, and distinct training mentions with how often each had which code."""
        codes = sorted(dictionary.names)
        number = {code: place for place, code in enumerate(codes)}
        texts, entries = [], []
        for code in codes:
            for name in (dictionary.names[code], *dictionary.aliases.get(code, ())):
                texts.append(normalised(name))
                entries.append({number[code]: 1.0})
        rows = len(texts)
        seen: dict[str, Counter[int]] = {}
        for document in documents if mentions else ():
            for span in document.spans:
                if span.code in number and normalised(span.mention):
                    seen.setdefault(normalised(span.mention), Counter())[number[span.code]] += 1
        texts += seen
        entries += [{code: float(count) for code, count in one.items()} for one in seen.values()]
        return cls(texts, codes, entries, rows)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Each name once for each of its codes: the names' numbers and the codes', those of the dictionary first."""
        names = np.repeat(np.arange(len(self.texts)), np.diff(self.ballot.starts))
        return names, self.ballot.codes

    # The index

    def keep(self, vectors: np.ndarray, dims: Sequence[int]) -> None:
        """Put the vectors (names, dims) of all names into an index of their own."""
        home = tempfile.mkdtemp(prefix="anysize-names-")
        self._index = _built(Path(home) / "names", vectors, dims)
        weakref.finalize(self._index, shutil.rmtree, home, True)

    @property
    def index(self) -> Index:
        """The index. Raises `DataError` before `keep`."""
        if self._index is None:
            raise DataError("the names have no vectors yet")
        return self._index

    def vectors(self, dims: int) -> np.ndarray:
        """The first coordinates of all vectors, (names, dims)."""
        return np.concatenate([one.vectors(slice(0, one.rows)) for one in self.index.segments])[:, :dims]

    def save(self, folder: Path, dims: Sequence[int]) -> None:
        """Write names and index, cut to `dims`, into a folder."""
        held = {
            "codes": self.codes,
            "rows": self.rows,
            "texts": self.texts,
            "entries": [[[code, count] for code, count in one.items()] for one in self.entries],
        }
        write_json(folder / "names.json", held)
        _built(folder / "names", self.vectors(dims[-1]), dims)
        (folder / "names" / LOCK).unlink(missing_ok=True)  # nothing is added to what is saved

    @classmethod
    def load(cls, folder: Path) -> Names:
        """What `save` wrote; of the vectors, what a size does not read stays on the disk."""
        held = read_object(folder / "names.json", "names")
        entries = [{int(code): float(count) for code, count in one} for one in held["entries"]]
        made = cls(held["texts"], held["codes"], entries, int(held["rows"]))
        made._index = Index.open(folder / "names")
        return made

    def cut(self, dims: Sequence[int]) -> Names:
        """The same names with shorter vectors, which shares nothing with this."""
        made = Names(self.texts, self.codes, self.entries, self.rows)
        made.keep(self.vectors(dims[-1]), dims)
        return made

    def nearest(
        self, queries: np.ndarray, dims: int, keep: int, short: int | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """
        For each of `queries` (q, dims) the numbers of `keep` names and their cosines over `dims` coordinates.

        The names are those nearest by the first `short` coordinates, or by all where it is None.
        """
        scorer = Scorer(self.index.segments, "cosine")
        first = dims if short is None else min(short, dims)
        asked = np.asarray(queries[:, :dims], np.float64)
        found = []
        for start in range(0, len(asked), 128):
            some = asked[start : start + 128]
            lists = [scorer.scan(some, first, keep, number)[0] for number in range(len(scorer.segments))]
            for row, query in enumerate(some):
                merged = merge([one[row] for one in lists], first).best(keep)
                if first < dims:
                    merged = scorer.rescore(query, merged, dims)[0]
                found.append((merged.rows, merged.scores))
        return found


def _built(path: Path, vectors: np.ndarray, dims: Sequence[int]) -> Index:
    rows = np.ascontiguousarray(vectors, np.float32)
    return Index.build(path, None, rows, nesting=Nesting(dims=tuple(dims)), codes=False, progress=False)
