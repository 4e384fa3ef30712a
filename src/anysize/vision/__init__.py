"""Image encoders at any size: nested clustering (Franca), features without their place (RASA), heads from labels."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
