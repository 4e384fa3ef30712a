"""The version of anysize, as installed."""

from importlib.metadata import version

__version__ = version("anysize")
