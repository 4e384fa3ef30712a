"""Classification at any size: MRL and MRL-E heads, and the cascade that stops early (Kusupati et al. 2022)."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
