"""Pictures, sounds and films in as many tokens as a budget allows."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
