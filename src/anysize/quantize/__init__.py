"""One file, every precision: MatQuant (Nair et al. 2025, arXiv 2502.06786) on the axis `bits`."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
