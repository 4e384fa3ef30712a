"""
The nested store: every vector once, cut into coordinate blocks; staged search over them (MRL, section 4.3).

A directory of immutable segments and one manifest, `index.json`, whose replacement is the commit. One writer at a
time holds a lock; readers hold none and keep the generation they opened.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.arguments import FLAG, PATH, TEXT, instance, many, one_of, takes, whole
from anysize.core.errors import CheckpointError
from anysize.core.shortly import shortly
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.search.asking.results import Results
from anysize.search.asking.stages import Stage
from anysize.search.intake.encoding import Models
from anysize.search.intake.given import items_of, many_queries, one_query
from anysize.search.intake.ids import ids_of
from anysize.search.intake.items import Encoder
from anysize.search.intake.models import at_size, check_model, model_of
from anysize.search.intake.passages import say_cut
from anysize.search.scoring.searcher import Searcher
from anysize.search.store.manifest import Manifest, in_words, read_manifest
from anysize.search.store.segment import Segment, open_segments
from anysize.search.store.sparse import codes_of
from anysize.search.writing.build import METRICS, IndexOptions, build
from anysize.search.writing.changes import Opened, append, compact, remove

SIZE = TEXT | instance(Size, words="a Size")
STAGES = TEXT | many(instance(Stage, words="a Stage"), "a list of stages")


class Index:
    """An index on disk, open for reading at one generation: `build` makes one, `open` opens one."""

    manifest: Manifest
    segments: tuple[Segment, ...]

    def __init__(self, directory: Path, model: Any = None, opened: Opened | None = None) -> None:
        self.path = directory
        self._models = Models(directory, model)
        self.segments = ()
        if opened is None:
            self.refresh()
        else:
            self._show(opened)

    @shortly
    def __repr__(self) -> str:
        return f"{self.path}: {in_words(self.manifest)}"

    @classmethod
    @takes(
        path=PATH,
        block=whole(),
        codes=FLAG,
        hnsw=FLAG,
        metric=one_of(METRICS),
        nesting=instance(Nesting, words="a Nesting"),
        model_path=PATH,
        vectors=FLAG,
        passages=FLAG,
        strict=FLAG,
        progress=FLAG,
    )
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
        passages: bool = False,
        strict: bool = False,
        progress: bool | None = None,
    ) -> Index:
        """
        Encode and store `items`; an index that stands at `path` is replaced once all is written.

        Args:
            path: Directory of the index.
            model: What encodes the items and later queries, or the path of one. None: the items are vectors and are
                stored as they are.
            items: Texts, lists of parts (texts and pictures), vectors (n, d), `Items`, or an iterable of batches of
                these; or a table with a column of any of them (rows as dicts, a DataFrame, a `datasets.Dataset`) and
                perhaps ids.
            ids: One id an item; without them, an `Items`' own, or consecutive numbers.
            block: Least width of a coordinate block; blocks end at sizes of the nesting.
            codes: Keep 4-bit codes of the first stage's prefix, for a faster shortlist.
            hnsw: Keep an HNSW graph of that prefix, for ``approximate="hnsw"``.
            metric: "cosine" (a vector of zeros scores 0) or "dot".
            nesting: Sizes of the vectors where no model says them; by default the full one alone.
            vectors: Keep the vectors beside the codes of a sparse model, to rescore with; without them an item takes
                the bytes of its code alone, and the sparse score is the last word.
            passages: Cut texts that the model does not read whole into passages, each an item with the text's id and
                #1, #2 and so on; and those that are added later. Without, such texts are cut where the model stops
                reading, and how many is said on standard error.
            model_path: Where `model` is saved, so that `open` finds it again, if it was given loaded.
            strict: Refuse pictures that cannot be read, in place of leaving them out with a note on standard error.
            progress: Whether to show, on standard error, how far it is: a bar on a terminal, else a line now and then;
                None does.

        Raises:
            DataError: Nothing to index, an id twice, NaN or infinite values (naming the row).
            SizeError: Vectors that do not fit the nesting.
            CheckpointError: `path` holds something that is not an index.
            AnysizeError: Another process is writing, the disk is full, or an option is not one of its choices.

        """
        directory = Path(os.path.abspath(path))
        encoder, found_at = model_of(model)
        where = os.path.abspath(model_path) if model_path is not None else found_at
        plan = IndexOptions(nesting, block, codes, hnsw, metric, vectors, passages)
        items = items_of(items)
        if not passages:
            say_cut(encoder, items)
        return cls(directory, encoder, build(directory, plan, items, ids, encoder, where, progress, strict))

    @classmethod
    @takes(path=PATH)
    def open(cls, path: str | os.PathLike[str], model: Encoder | str | os.PathLike[str] | None = None) -> Index:
        """
        Open an index. Its model is loaded when a text is searched, unless one is given.

        Raises `CheckpointError` if there is no index, a file is missing or of another length, or `model` is not the
        one it was built with. A file's content is checked when something of it is first read, and then raises
        `CheckpointError` from the search; `verify` reads every byte at once.
        """
        index = cls(Path(os.path.abspath(path)))
        if model is not None:
            encoder = at_size(model_of(model)[0], index.manifest)
            check_model(encoder, index.manifest, index.path)
            index._models = Models(index.path, encoder)
        return index

    def refresh(self) -> None:
        """Read the newest generation, for example after another process has added to the index."""
        before = -1
        while True:
            manifest = read_manifest(self.path)
            try:
                segments = open_segments(self.path, manifest, self.segments)
                break
            except FileNotFoundError as error:
                # A writer may have replaced this generation between the two reads; then there is a newer one.
                if manifest.generation == before:
                    raise CheckpointError(f"{error.filename} is missing; build the index again") from error
                before = manifest.generation
        self._show((manifest, segments))

    def _show(self, opened: Opened) -> None:
        self.manifest, self.segments = opened
        self._searcher = Searcher(*opened)

    def __len__(self) -> int:
        return self.manifest.count

    @property
    def nesting(self) -> Nesting:
        """The sizes that stages may use."""
        return self.manifest.nesting

    @property
    def model(self) -> Any:
        """The model that the index was built with, loaded at the first use."""
        return self._models.at(self.manifest)

    @property
    def bytes(self) -> int:
        """Bytes of all files of the segments."""
        return self.manifest.bytes

    @takes(k=whole(), stages=STAGES, approximate=TEXT, size=SIZE)
    def search(
        self,
        query: str | Sequence[Mapping[str, Any]] | np.ndarray,
        k: int = 10,
        stages: Sequence[Stage] | str | None = None,
        approximate: str | None = None,
        size: Size | str | None = None,
    ) -> Results:
        """
        The `k` best items for a text, a list of parts, or a vector (d,) or (1, d); all items if there are fewer.

        A text is encoded by the index's model; so are parts, ``[{"text": ...}, {"image": ...}]``, if it reads such. A
        vector is what the items were: one before encoding if vectors were encoded, else one as they are stored. Its
        length may be any that float64 holds. `size` encodes the query at another size than the items were, by a model
        whose vectors of both compare: fewer tokens a picture, fewer layers.

        Without `stages`, each segment runs the plan that its check at build found to lose nothing (`anysize info` says
        which), or whole rows are scanned. The answer for k hits is the beginning of that for more: hits up to 10, to
        100 and to 1,000 come from one list of candidates each, so that a row which one list missed comes after its
        hits, whatever its score; of equal scores the earlier row is first. `approximate="hnsw"` shortlists with the
        graph where its check passed. With `stages`, each stage keeps what it says.

        Raises `AnysizeError` for a query of NaN, infinite values or zeros, or another width, for bad stages, and for a
        size that the model does not offer or does not compare.
        """
        return self.search_many(one_query(query), k, stages, approximate, size)[0]

    @takes(k=whole(), stages=STAGES, approximate=TEXT, size=SIZE)
    def search_many(
        self,
        queries: Sequence[Any] | np.ndarray,
        k: int = 10,
        stages: Sequence[Stage] | str | None = None,
        approximate: str | None = None,
        size: Size | str | None = None,
    ) -> list[Results]:
        """
        `search` for several texts or lists of parts, or vectors (q, d), whose first stage is scanned together; `ms` is
        their mean.

        Raises as `search` does, naming the query by its place; of no queries there are no results.
        """
        queries = many_queries(queries)
        if len(queries) == 0:
            return []
        opened = time.perf_counter()
        self._models.ready(self.manifest, queries, size)
        begin = time.perf_counter()
        vectors = self._models.vectors(self.manifest, queries, size)
        encoded = time.perf_counter()
        encode = partial(codes_of, self.model) if self.manifest.sparse else None
        answers = self._searcher.search(vectors, int(k), stages, approximate, encode)
        each, load_ms = 1000 / max(1, len(answers)), 1000 * (begin - opened)
        encode_ms, ms = (encoded - begin) * each, (time.perf_counter() - encoded) * each
        return [
            Results(hits, ms, sum(stage.bytes or 0 for stage in reports), reports, encode_ms, load_ms * (not place))
            for place, (hits, reports) in enumerate(answers)
        ]

    @takes(progress=FLAG, strict=FLAG)
    def add(
        self, items: Any, ids: Iterable[object] | None = None, progress: bool | None = None, *, strict: bool = False
    ) -> None:
        """
        Append items, of the same form as those the index was built from.

        Items without ids are numbered on, passing over ids that are taken. Small segments at the end are merged with
        what is added, so that many small additions leave few segments. Broken pictures are dealt with as by `build`.
        Raises `DataError` if an id is taken; what raises has added nothing.
        """
        self._append(items, ids, progress, replacing=False, strict=strict)

    @takes(progress=FLAG, strict=FLAG)
    def upsert(
        self, items: Any, ids: Iterable[object] | None = None, progress: bool | None = None, *, strict: bool = False
    ) -> None:
        """
        Append items, each in the place of the one with its id if there is one, in one step.

        Raises `DataError` for items without ids and for an id that is given twice; what raises has changed nothing.
        """
        self._append(items, ids, progress, replacing=True, strict=strict)

    def _append(
        self, items: Any, ids: Iterable[object] | None, progress: bool | None, *, replacing: bool, strict: bool
    ) -> None:
        model = self.model if self.manifest.model_size is not None else None
        items = items_of(items)
        if not self.manifest.passages:
            say_cut(model, items)
        made = append(self.path, items, ids, model, progress, known=self.segments, replacing=replacing, strict=strict)
        self._show(made)

    def delete(self, ids: object) -> None:
        """
        Remove items by id: one, or several. Nothing is removed if an id is unknown: `DataError` names it.

        Their bytes stay until `compact` or a new `build`.
        """
        self._show(remove(self.path, ids_of(ids, "what to delete"), self.segments))

    def compact(self) -> None:
        """Write what is left into one segment, which frees the bytes of deleted items and speeds up searches."""
        self._show(compact(self.path))

    def verify(self) -> None:
        """Read every byte and compare checksums. Raises `CheckpointError`, naming the file that was altered."""
        for segment in self.segments:
            segment.verify()
