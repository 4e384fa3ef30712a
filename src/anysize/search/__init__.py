"""The nested store, adaptive and funnel retrieval, and back ends that answer the same staged query."""

from anysize.search.index import Index
from anysize.search.items import Encoder
from anysize.search.results import Hit, Results, StageReport
from anysize.search.stages import Stage, default_stages, multiply_adds

__all__ = ["Encoder", "Hit", "Index", "Results", "Stage", "StageReport", "default_stages", "multiply_adds"]
