"""``anysize index``: a corpus in, a searchable store out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro


@dataclass
class Index:
    """Encode a corpus and write it as an index that keeps each vector once and searches it in stages."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A model that `anysize fit` wrote, or - to keep the vectors of CORPUS as they are. A model of sparse codes gives
    an inverted index of them beside the vectors that it reads."""
    corpus: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CORPUS")]
    """Texts or vectors: a BEIR folder, jsonl, csv, parquet, .npy, .safetensors, or a `datasets` name."""
    out: str
    """Directory of the index; one that stands there answers until the new one is complete."""
    size: str | None = None
    """Size to encode at, for example dims=64 or layers=3,dims=96, or its name; without it, the model's full size."""
    task: str | None = None
    """Of a model with an adapter per task: the task to embed documents and queries for. Default: retrieval, where it
    embeds the two differently."""
    dims: tuple[int, ...] | None = None
    """Sizes of the vectors, where MODEL is -; for example 64,128,384."""
    metric: Literal["cosine", "dot"] = "cosine"
    """Score: the cosine, or the inner product."""
    block: int = 64
    """Least width of the coordinate blocks on disk."""
    no_codes: bool = False
    """Leave out the 4-bit codes that make the first stage fast."""
    hnsw: bool = False
    """Add an HNSW graph over the first stage's prefix, for `anysize search --approximate hnsw`."""
    no_vectors: bool = False
    """Of a model of sparse codes: keep the codes alone, without the vectors to rescore with."""

    def run(self) -> WasIndexed:
        """Read, encode, write."""
        import time

        from anysize.cli.notes import read_told
        from anysize.cli.tasks import for_task
        from anysize.core import registry
        from anysize.core.errors import AnysizeError
        from anysize.core.sizes import Nesting
        from anysize.search import Index as Store
        from anysize.search.manifest import claim_check

        claim_check(self.out)
        model: Any = None
        if self.model != "-":
            if self.dims is not None:
                raise AnysizeError("a model knows its own sizes; --dims is for vectors that are kept as they are")
            model = for_task(registry.load(self.model, self.size), self.task, self.model)
        elif self.size is not None or self.task is not None:
            raise AnysizeError("--size and --task are of a model; vectors that are kept as they are take --dims")
        data = read_told(self.corpus)
        begin = time.perf_counter()
        store = Store.build(
            self.out,
            model,
            data.items(),
            block=self.block,
            codes=not self.no_codes,
            hnsw=self.hnsw,
            metric=self.metric,
            vectors=not self.no_vectors,
            nesting=Nesting(dims=self.dims) if self.dims else None,
            model_path=None if model is None else self.model,
        )
        took, texts = time.perf_counter() - begin, store.manifest.source == "texts"
        return WasIndexed(self.out, len(store), store.nesting.full.dims, store.bytes, took, texts, data.notes)


@dataclass(frozen=True)
class WasIndexed:
    """What was written."""

    out: str
    count: int
    dims: int
    bytes: int
    seconds: float
    texts: bool
    """Whether it is asked with texts; else with vectors."""
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """One line, and how to search it."""
        query = '"..."' if self.texts else "--vector QUERY.npy"
        return (
            f"{self.out}: {self.count} items of {self.dims} dims, {self.bytes:,} bytes, in {self.seconds:.1f} s; "
            f"ask it with: anysize search {self.out} {query}"
        )

    def to_json(self) -> dict[str, Any]:
        """Place, items, dims, bytes and seconds."""
        return {
            "out": self.out,
            "count": self.count,
            "dims": self.dims,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }
