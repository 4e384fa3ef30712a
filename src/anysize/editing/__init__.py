"""Long texts edited into language models: muKE's nested windows, with AnyEdit and UnKE beside it."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
