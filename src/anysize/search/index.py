"""
The nested store: every vector once, cut into coordinate blocks; staged search over them (MRL, section 4.3).

A directory of immutable segments and one manifest, `index.json`, whose replacement is the commit. One writer at a
time holds a lock; readers hold none and keep the generation they opened.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.errors import AnysizeError, CheckpointError, DataError
from anysize.core.sizes import Nesting
from anysize.search.build import Plan, append, build, compact
from anysize.search.items import Encoder, check_vectors, embed
from anysize.search.lock import writing
from anysize.search.manifest import Manifest, commit, read_manifest, sweep
from anysize.search.models import at_size, check_model, load_model, model_of
from anysize.search.queries import check_queries
from anysize.search.results import Results
from anysize.search.searcher import Searcher
from anysize.search.segment import Segment
from anysize.search.sparse import codes_of
from anysize.search.stages import Stage
from anysize.search.writer import disk_errors, write_deleted


class Index:
    """An index on disk, open for reading at one generation: `build` makes one, `open` opens one."""

    manifest: Manifest
    segments: tuple[Segment, ...]

    def __init__(self, directory: Path, model: Any = None) -> None:
        self.path = directory
        self._model = model
        self.refresh()

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        model: Encoder | str | os.PathLike[str] | None,
        items: Any,
        *,
        ids: Iterable[object] | None = None,
        block: int = 64,
        codes: bool = True,
        hnsw: bool = False,
        metric: str = "cosine",
        nesting: Nesting | None = None,
        model_path: str | os.PathLike[str] | None = None,
        vectors: bool = True,
        progress: bool | None = None,
    ) -> Index:
        """
        Encode and store `items`; an index that stands at `path` is replaced once all is written.

        Args:
            path: Directory of the index.
            model: What encodes the items and later queries, or the path of one. None: the items are vectors and are
                stored as they are.
            items: Texts, vectors (n, d), `Items`, or an iterable of batches of these.
            ids: One id an item; without them, an `Items`' own, or consecutive numbers.
            block: Least width of a coordinate block; blocks end at sizes of the nesting.
            codes: Keep 4-bit codes of the first stage's prefix, for a faster shortlist.
            hnsw: Keep an HNSW graph of that prefix, for ``approximate="hnsw"``.
            metric: "cosine" (a vector of zeros scores 0) or "dot".
            nesting: Sizes of the vectors where no model says them; by default the full one alone.
            vectors: Keep the vectors beside the codes of a sparse model, to rescore with; without them an item takes
                the bytes of its code alone, and the sparse score is the last word.
            model_path: Where `model` is saved, so that `open` finds it again, if it was given loaded.
            progress: Progress bar on standard error; None shows one on a terminal.

        Raises:
            DataError: Nothing to index, an id twice, NaN or infinite values (naming the row).
            SizeError: Vectors that do not fit the nesting.
            CheckpointError: `path` holds something that is not an index.
            AnysizeError: Another process is writing, the disk is full, or an option is not one of its choices.

        """
        directory = Path(os.path.abspath(path))
        encoder, found_at = model_of(model)
        where = os.path.abspath(model_path) if model_path is not None else found_at
        build(directory, Plan(nesting, block, codes, hnsw, metric, vectors), items, ids, encoder, where, progress)
        return cls(directory, encoder)

    @classmethod
    def open(cls, path: str | os.PathLike[str], model: Encoder | str | os.PathLike[str] | None = None) -> Index:
        """
        Open an index. Its model is loaded when a text is searched, unless one is given.

        Raises `CheckpointError` if there is no index, a file is missing or of another length, or `model` is not the
        one it was built with. `verify` reads every byte; opening does not.
        """
        index = cls(Path(os.path.abspath(path)))
        if model is not None:
            encoder = at_size(model_of(model)[0], index.manifest)
            check_model(encoder, index.manifest, index.path)
            index._model = encoder
        return index

    def refresh(self) -> None:
        """Read the newest generation, for example after another process has added to the index."""
        before = -1
        while True:
            manifest = read_manifest(self.path)
            try:
                segments = tuple(Segment(self.path, manifest, entry) for entry in manifest.segments)
                break
            except FileNotFoundError as error:
                # A writer may have replaced this generation between the two reads; then there is a newer one.
                if manifest.generation == before:
                    raise CheckpointError(f"{error.filename} is missing; build the index again") from error
                before = manifest.generation
        self.manifest, self.segments = manifest, segments
        self._searcher = Searcher(manifest, segments)

    def __len__(self) -> int:
        return self.manifest.count

    @property
    def nesting(self) -> Nesting:
        """The sizes that stages may use."""
        return self.manifest.nesting

    @property
    def model(self) -> Any:
        """The model that the index was built with, loaded at the first use."""
        if self._model is None:
            self._model = load_model(self.manifest, self.path)
        return self._model

    @property
    def bytes(self) -> int:
        """Bytes of all files of the segments."""
        return sum(file.bytes for entry in self.manifest.segments for file in entry.files.values())

    def search(
        self,
        query: str | np.ndarray,
        k: int = 10,
        stages: Sequence[Stage] | str | None = None,
        approximate: str | None = None,
    ) -> Results:
        """
        The `k` best items for a text, or for a vector (d,) or (1, d); all items if there are fewer.

        A text is encoded by the index's model. A vector is what the items were: one before encoding if vectors were
        encoded, else one as they are stored. Its length may be any that float64 holds.

        Without `stages`, each segment runs the plan that its check at build found to lose nothing (`anysize info` says
        which), or whole rows are scanned. The answer for k hits is the beginning of that for more: hits up to 10, to
        100 and to 1,000 come from one list of candidates each, so that a row which one list missed comes after its
        hits, whatever its score; of equal scores the earlier row is first. `approximate="hnsw"` shortlists with the
        graph where its check passed. With `stages`, each stage keeps what it says.

        Raises `AnysizeError` for a query of NaN, infinite values or zeros, or another width, and for bad stages.
        """
        queries: Any = [query] if isinstance(query, str) else np.atleast_2d(query)
        if len(queries) != 1:
            raise DataError(f"search takes one query, got {len(queries)}; use search_many")
        return self.search_many(queries, k, stages, approximate)[0]

    def search_many(
        self,
        queries: Sequence[str] | np.ndarray,
        k: int = 10,
        stages: Sequence[Stage] | str | None = None,
        approximate: str | None = None,
    ) -> list[Results]:
        """`search` for several texts, or vectors (q, d), whose first stage is scanned together; `ms` is their mean."""
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise AnysizeError(f"k={k!r} hits cannot be found; ask for at least 1")
        if self.manifest.source != "vectors":
            _ = self.model  # loaded before the clock starts: that is paid once, not by every query
        begin = time.perf_counter()
        vectors = self._encode(queries)
        encoded = time.perf_counter()
        encode = partial(codes_of, self.model) if self.manifest.sparse else None
        answers = self._searcher.search(vectors, int(k), stages, approximate, encode)
        each = 1000 / max(1, len(answers))
        encode_ms, ms = (encoded - begin) * each, (time.perf_counter() - encoded) * each
        return [
            Results(hits, ms, sum(stage.bytes or 0 for stage in reports), reports, encode_ms)
            for hits, reports in answers
        ]

    def add(self, items: Any, ids: Iterable[object] | None = None, progress: bool | None = None) -> None:
        """Append items, of the same form as those the index was built from. Raises `DataError` if an id is taken."""
        model = self.model if self.manifest.model_size is not None else None
        append(self.path, items, ids, model, progress)
        self.refresh()

    def delete(self, ids: str | Iterable[str]) -> None:
        """
        Remove items by id. Nothing is removed if an id is unknown: `DataError` names it.

        Their bytes stay until `compact` or a new `build`.
        """
        wanted = [ids] if isinstance(ids, str) else [str(name) for name in ids]
        with disk_errors(self.path), writing(self.path):
            manifest = read_manifest(self.path)
            sweep(self.path, manifest)
            left, entries = set(wanted), []
            for entry in manifest.segments:
                segment = Segment(self.path, manifest, entry)
                gone = [row for row in segment.alive().tolist() if segment.id(row) in left]
                left -= {segment.id(row) for row in gone}
                if gone:
                    rows = np.union1d(segment.deleted, gone)
                    name, file = write_deleted(self.path, rows)
                    entry = replace(entry, deleted=name, deleted_rows=len(rows), deleted_file=file)
                entries.append(entry)
            if left:
                sweep(self.path, manifest)
                raise DataError(
                    f"no item has the id {next(name for name in wanted if name in left)!r}; nothing was deleted"
                )
            sweep(self.path, commit(self.path, replace(manifest, segments=tuple(entries))))
        self.refresh()

    def compact(self) -> None:
        """Write what is left into one segment, which frees the bytes of deleted items and speeds up searches."""
        compact(self.path)
        self.refresh()

    def verify(self) -> None:
        """Read every byte and compare checksums. Raises `CheckpointError`, naming the file that was altered."""
        for segment in self.segments:
            segment.verify()

    def _encode(self, queries: Sequence[str] | np.ndarray) -> np.ndarray:
        if len(queries) and isinstance(queries[0], str):
            if self.manifest.source == "vectors":
                raise DataError(f"{self.path} was built from vectors; search it with a vector, not a text")
            queries = embed(self.model, list(queries), "query")
        elif self.manifest.source == "encoded":
            queries = np.asarray(self.model.encode(check_vectors(np.asarray(queries))))
        return check_queries(queries, self.manifest.nesting.full.dims, self.manifest.metric)
