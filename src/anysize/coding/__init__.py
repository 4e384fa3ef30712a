"""Clinical coding: from a diagnosis in free text to codes, by nested vectors and their index."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
