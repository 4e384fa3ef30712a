"""What a search returns: hits, what each stage did, time and bytes touched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Hit:
    """One found item. `score` is the true full-size score: the cosine, or the inner product for metric="dot"."""

    id: str
    score: float
    text: str | None = None


@dataclass(frozen=True)
class StageReport:
    """What one stage did for one query."""

    dims: int
    """Coordinates of each vector that the stage's scores use; 0 where it scored sparse codes."""
    candidates: int
    """Items that came in."""
    kept: int
    """Items that went on to the next stage, or out."""
    bytes: int | None
    """Bytes of codes, coordinates and norms that the stage touched; None where a server did the work, untold."""
    multiply_adds: int
    """Multiply-adds as the MRL paper counts them: items that came in x dims (appendix on adaptive retrieval)."""
    scan: str = "vectors"
    """What was read first: "vectors", "codes", "hnsw" or "sparse"; "rescore" for every later stage."""
    active: int | None = None
    """Latents of the query that a stage over sparse codes scored by."""

    @property
    def size(self) -> str:
        """What it scored by, as it is typed."""
        return f"dims={self.dims}" if self.active is None else f"active={self.active}"


@dataclass(frozen=True)
class Results:
    """The hits of one query, best first, with what they cost."""

    hits: tuple[Hit, ...]
    ms: float
    bytes_read: int | None
    """The bytes of all stages; None where a server does not tell."""
    stages: tuple[StageReport, ...]
    encode_ms: float = 0.0
    """Milliseconds to turn the query into a vector, which `ms` leaves out."""
    load_ms: float = 0.0
    """Milliseconds to load the model, which the first answer of an index pays and the other two leave out."""

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds over all stages: N * D_s + sum of K_i * D_i."""
        return sum(stage.multiply_adds for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Plain values: hits, the three times, bytes_read and stages."""
        return {
            "hits": [asdict(hit) for hit in self.hits],
            "ms": round(self.ms, 3),
            "bytes_read": self.bytes_read,
            "encode_ms": round(self.encode_ms, 3),
            "load_ms": round(self.load_ms, 3),
            "stages": [asdict(stage) for stage in self.stages],
        }
