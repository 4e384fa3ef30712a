"""``anysize index``: a corpus in, a searchable store out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from anysize.cli.options import Positional


@dataclass
class Index:
    """Encode a corpus and write it as an index that keeps each vector once and searches it in stages."""

    model: Annotated[str | None, Positional("MODEL")] = None
    """A model that `anysize fit` wrote, or - to keep the vectors of CORPUS as they are. A model of sparse codes gives
    an inverted index of them beside the vectors that it reads."""
    corpus: Annotated[str | None, Positional("CORPUS")] = None
    """Texts or vectors: a BEIR folder, jsonl, csv, parquet, .npy, .safetensors, or a `datasets` name."""
    out: Annotated[str | None, "PATH"] = None
    """Directory of the index; one that stands there answers until the new one is complete."""
    add: bool = False
    """Add CORPUS to the index at --out. Items without ids are numbered on; an id that is taken is refused."""
    upsert: bool = False
    """Add CORPUS to the index at --out, each item in the place of the one with its id if there is one."""
    compact: Annotated[str | None, "INDEX"] = None
    """Instead of all else: merge the segments of this index, which frees the bytes of deleted items."""
    size: str | None = None
    """Size to encode at, for example dims=64 or layers=3,dims=96, or its name; without it, the model's full size."""
    task: str | None = None
    """Of a model with an adapter per task: the task to embed documents and queries for. Default: retrieval, where it
    embeds the two differently."""
    dims: tuple[int, ...] | None = None
    """Sizes of the vectors, where MODEL is -; for example 64,128,384."""
    metric: Literal["cosine", "dot"] = "cosine"
    """Score: the cosine, or the inner product."""
    passages: bool = False
    """Cut texts that the model does not read whole into passages, each an item of its own: those of item a are a#1,
    a#2, ... Without, the rest of such a text is not searched, and how many there are is said."""
    strict: bool = False
    """Refuse broken pictures, in place of leaving them out with a count."""
    block: int = 64
    """Least width of the coordinate blocks on disk."""
    no_codes: bool = False
    """Leave out the 4-bit codes that make the first stage fast."""
    hnsw: bool = False
    """Add an HNSW graph over the first stage's prefix, for `anysize search --approximate hnsw`."""
    no_vectors: bool = False
    """Of a model of sparse codes: keep the codes alone, without the vectors to rescore with."""

    def run(self) -> WasIndexed | WasCompacted:
        """Read, encode, write."""
        from anysize.core.errors import AnysizeError

        if self.compact is not None:
            if any(one is not None for one in (self.model, self.corpus, self.out)) or self.add or self.upsert:
                raise AnysizeError("--compact INDEX merges what is there; leave out MODEL, CORPUS, --out and the rest")
            return _compacted(self.compact)
        if self.model is None or self.corpus is None or self.out is None:
            raise AnysizeError("give MODEL, CORPUS and --out INDEX, or --compact INDEX alone")
        if self.add and self.upsert:
            raise AnysizeError("--add refuses ids that are taken and --upsert replaces them; give one of the two")
        if self.add or self.upsert:
            return self._add(self.model, self.corpus, self.out)
        return self._build(self.model, self.corpus, self.out)

    def _build(self, name: str, corpus: str, out: str) -> WasIndexed:
        import time

        from anysize.cli.notes import read_told
        from anysize.core.errors import AnysizeError
        from anysize.core.sizes.nesting import Nesting
        from anysize.search import Index as Store
        from anysize.search.store.manifest import claim_check

        claim_check(out)
        if name != "-" and self.dims is not None:
            raise AnysizeError("a model knows its own sizes; --dims is for vectors that are kept as they are")
        model, data = self._model(name), read_told(corpus)
        begin = time.perf_counter()
        store = Store.build(
            out,
            model,
            data.items(),
            block=self.block,
            codes=not self.no_codes,
            hnsw=self.hnsw,
            metric=self.metric,
            vectors=not self.no_vectors,
            passages=self.passages,
            strict=self.strict,
            nesting=Nesting(dims=self.dims) if self.dims else None,
            model_path=None if model is None else name,
        )
        return WasIndexed.of(out, store, time.perf_counter() - begin, data.notes)

    def _add(self, name: str, corpus: str, out: str) -> WasIndexed:
        import time
        from dataclasses import fields

        from anysize.cli.notes import read_told
        from anysize.core.errors import AnysizeError
        from anysize.search import Index as Store

        fixed = ("dims", "metric", "block", "no_codes", "hnsw", "no_vectors", "passages")
        given = [one.name for one in fields(self) if one.name in fixed and getattr(self, one.name) != one.default]
        if given:
            options = " and ".join(f"--{one.replace('_', '-')}" for one in given)
            raise AnysizeError(f"{options} cannot be changed of an index that stands; leave it out, or build anew")
        store = Store.open(out, self._model(name))
        data = read_told(corpus)
        begin, before = time.perf_counter(), len(store)
        (store.upsert if self.upsert else store.add)(data.items(), strict=self.strict)
        return WasIndexed.of(out, store, time.perf_counter() - begin, data.notes, before)

    def _model(self, name: str) -> Any:
        from anysize.core.errors import AnysizeError
        from anysize.core.verbs.load import load

        if name != "-":
            return load(name, self.size).for_task(self.task)
        if self.size is not None or self.task is not None:
            raise AnysizeError("--size and --task are of a model; vectors that are kept as they are take --dims")
        return None


@dataclass(frozen=True)
class WasIndexed:
    """What was written."""

    out: Annotated[str, "PATH"]
    count: int
    dims: int
    bytes: int
    seconds: float
    texts: bool
    """Whether it is asked with texts; else with vectors."""
    notes: tuple[str, ...] = ()
    before: int | None = None
    """Items that were there before some were added; None for a new index."""

    @classmethod
    def of(cls, out: str, store: Any, seconds: float, notes: tuple[str, ...], before: int | None = None) -> WasIndexed:
        """What a store now holds."""
        texts = store.manifest.source == "texts"
        return cls(out, len(store), store.nesting.full.dims, store.bytes, seconds, texts, notes, before)

    def text(self) -> str:
        """One line, and how to search it."""
        query = '"..."' if self.texts else "--vector QUERY.npy"
        more = "" if self.before is None else f" ({self.before} before)"
        return (
            f"{self.out}: {self.count} items{more} of {self.dims} dims, {self.bytes:,} bytes, in {self.seconds:.1f} s; "
            f"ask it with: anysize search {self.out} {query}"
        )

    def to_json(self) -> dict[str, Any]:
        """Place, items, dims, bytes and seconds; of additions also how many items there were before."""
        return {
            "out": self.out,
            "count": self.count,
            "dims": self.dims,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            **({} if self.before is None else {"before": self.before}),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class WasCompacted:
    """An index before and after its segments were merged."""

    index: str
    count: int
    segments: int
    bytes_before: int
    bytes: int

    def text(self) -> str:
        """One line."""
        return (
            f"{self.index}: {self.count} items in one segment in place of {self.segments}, "
            f"{self.bytes:,} bytes in place of {self.bytes_before:,}"
        )

    def to_json(self) -> dict[str, Any]:
        """The same."""
        return dict(vars(self))


def _compacted(path: str) -> WasCompacted:
    """Merge without opening: an index may have more segments than can be open at once."""
    from pathlib import Path

    from anysize.search.store.manifest import read_manifest
    from anysize.search.writing.changes import compact

    before = read_manifest(Path(path))
    after, _ = compact(Path(path))
    return WasCompacted(path, after.count, len(before.segments), before.bytes, after.bytes)
