"""The nested store, adaptive and funnel retrieval, and back ends that answer the same staged query."""

from anysize.search.backend import Backend
from anysize.search.index import Index
from anysize.search.items import Encoder
from anysize.search.qdrant import QdrantIndex
from anysize.search.results import Hit, Results, StageReport
from anysize.search.stages import Stage, default_stages, multiply_adds

__all__ = [
    "Backend",
    "Encoder",
    "Hit",
    "Index",
    "QdrantIndex",
    "Results",
    "Stage",
    "StageReport",
    "default_stages",
    "multiply_adds",
]
