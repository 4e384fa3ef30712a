"""The nested store, adaptive and funnel retrieval, and back ends that answer the same staged query."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
