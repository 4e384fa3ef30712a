"""The nested store, adaptive and funnel retrieval, and back ends that answer the same staged query."""

from anysize.search.asking.results import Hit, Results, StageReport
from anysize.search.asking.stages import Stage, default_stages, multiply_adds
from anysize.search.backend import Backend
from anysize.search.index import Index
from anysize.search.intake.items import Encoder
from anysize.search.qdrant import QdrantIndex

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
