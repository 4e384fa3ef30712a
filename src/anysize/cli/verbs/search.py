"""``anysize search``: ask an index, once or with many queries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from anysize.cli.options import Positional
from anysize.core.printable import printable

_TOGETHER = 128
"""Queries that are encoded and searched at once."""


@dataclass
class Search:
    """Find the items nearest to a text, a picture, both or a vector: a shortlist by a prefix, then true scores."""

    index: Annotated[str, Positional("INDEX")]
    """An index that `anysize index` wrote."""
    query: Annotated[str | None, Positional("TEXT")] = None
    """What to look for: a text, or the file of a picture."""
    beside: Annotated[list[str], Positional("MORE")] = field(default_factory=list)
    """What belongs to the query too, in order: pictures beside a text, texts beside a picture."""
    k: int = 10
    """How many hits."""
    stages: str | None = None
    """Stages as dims=SIZE:KEEP, ending with the full size, for example dims=64:200,dims=384; the first of an index of
    sparse codes may be active=32:200."""
    size: str | None = None
    """Size to encode the query at, where a model's vectors of two sizes compare: tokens=4 of an index at tokens=16.
    Without it, the size of the index."""
    vector: str | None = None
    """A .npy file that holds the query as a vector, instead of a text."""
    queries: str | None = None
    """Many queries, answered in order: a file with one a line, as text or as JSON with "text" or "parts" (and perhaps
    "id"), or - to read such lines from standard input; or a .npy file of vectors, (queries, dims). With --json, one
    object a line."""
    model: str | None = None
    """Where the index's model is now, if it was moved."""
    approximate: Literal["hnsw"] | None = None
    """Shortlist with the HNSW graph instead of a scan."""

    def run(self) -> Any:
        """Open, encode, search."""
        from anysize.cli.queries import read_queries
        from anysize.cli.several import Several
        from anysize.core.errors import AnysizeError
        from anysize.search import Index

        if sum(one is not None for one in (self.query, self.vector, self.queries)) != 1:
            raise AnysizeError("give either a text to look for, --vector FILE.npy, or --queries FILE (or -)")
        asked = None if self.queries is None else read_queries(self.queries)
        begin = time.perf_counter()
        index = Index.open(self.index, model=self.model)
        open_ms = 1000 * (time.perf_counter() - begin)
        if asked is not None:
            return Several(self._each(index, asked.ids, asked.queries, open_ms))
        query = _asked([self.query, *self.beside]) if self.query is not None else _vector(str(self.vector))
        found = index.search(query, k=self.k, stages=self.stages, approximate=self.approximate, size=self.size)
        return Found(replace(found, load_ms=open_ms + found.load_ms))

    def _each(self, index: Any, ids: list[str], queries: Any, open_ms: float) -> Iterator[FoundFor]:
        from anysize.core.data.files.rows import short_list
        from anysize.core.errors import DataError

        refused: list[tuple[str, DataError]] = []
        for start in range(0, len(queries), _TOGETHER):
            part = queries[start : start + _TOGETHER]
            for row, answer in enumerate(self._answers(index, part)):
                if isinstance(answer, DataError):
                    refused.append((ids[start + row], answer))
                else:
                    answer, open_ms = replace(answer, load_ms=open_ms + answer.load_ms), 0.0
                    yield FoundFor(answer, ids[start + row], _said(part[row]))
        if refused:
            name, why = refused[0]
            others = f" ({short_list(name for name, _ in refused)})" if len(refused) > 1 else ""
            raise DataError(f"{len(refused)} of {len(queries)} queries got no answer{others}: {name}: {why}")

    def _answers(self, index: Any, part: Any) -> list[Any]:
        """Results for each query, or what it is refused for: one that cannot be asked takes no other's answer."""
        from anysize.core.errors import DataError

        ask = partial(index.search_many, k=self.k, stages=self.stages, approximate=self.approximate, size=self.size)
        try:
            return list(ask(part))
        except DataError:
            found: list[Any] = []
            for row in range(len(part)):
                try:
                    found += ask(part[row : row + 1])
                except DataError as error:
                    found.append(error)
            return found


@dataclass(frozen=True)
class Found:
    """Hits and what they cost."""

    results: Any

    def text(self) -> str:
        """One line a hit, then time and bytes."""
        lines = [f"{hit.score:7.4f}  {printable(hit.id)}" + _shown(hit.text) for hit in self.results.hits]
        stages = ", ".join(f"{stage.size} of {stage.candidates}" for stage in self.results.stages)
        found = "\n".join(lines) or "nothing found"
        times = [f"{self.results.ms:.2f} ms to search"]
        times += [f"{self.results.encode_ms:.0f} ms to encode"] if self.results.encode_ms >= 1 else []
        times += [f"{self.results.load_ms / 1000:.2f} s to load, paid once"] if self.results.load_ms >= 1 else []
        return f"{found}\n{', '.join(times)}; {self.results.bytes_read:,} bytes read ({stages})"

    def to_json(self) -> dict[str, Any]:
        """Hits, the times to load, to encode and to search, bytes_read and stages."""
        return self.results.to_json()


@dataclass(frozen=True)
class FoundFor(Found):
    """The same for one of many queries."""

    query_id: str
    query: str | None
    """Its text, of parts the words; None for a vector."""

    def text(self) -> str:
        """The query above its hits."""
        return f"{printable(self.query_id)}:{_shown(self.query)}\n{super().text()}\n"

    def to_json(self) -> dict[str, Any]:
        """Also ``query_id`` and ``query``, the text if there is one."""
        return {"query_id": self.query_id, "query": self.query, **super().to_json()}


def _shown(text: str | None) -> str:
    if text is None:
        return ""
    line = printable(" ".join(text.split()))
    return "  " + (line if len(line) <= 100 else line[:99] + "…")


def _asked(words: list[str]) -> Any:
    """A text, or the parts that words and pictures are. Raises `AnysizeError` for several words without a picture."""
    from anysize.core.data.files.media import kind_of_file
    from anysize.core.errors import AnysizeError
    from anysize.core.verbs.inputs import together

    if any(kind_of_file(word) for word in words) and (len(words) > 1 or Path(words[0]).exists()):
        return together(words).items.rows[0]
    if len(words) > 1:
        raise AnysizeError(f'none of these {len(words)} is a picture; put a text of several words in quotes: "..."')
    return words[0]


def _said(query: Any) -> str | None:
    from anysize.search.intake.parts import in_words, is_parts

    return query if isinstance(query, str) else in_words(query) if is_parts(query) else None


def _vector(path: str) -> Any:
    import numpy as np

    from anysize.core.errors import DataError

    if not Path(path).is_file():  # reading a FIFO would wait for ever
        raise DataError(f"{path} is no file; expected a .npy file of shape (d,)")
    try:
        return np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as a vector ({error}); expected a .npy file of shape (d,)") from None
