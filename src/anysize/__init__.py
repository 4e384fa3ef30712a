"""anysize: train once, run at any size."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
