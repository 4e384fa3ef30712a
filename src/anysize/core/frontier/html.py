"""Pages that load nothing: what their heads say alike stands in `head.html`, the rest in a package's `page.html`."""

from __future__ import annotations

import string
from importlib.resources import files


def filled(package: str, **words: str) -> str:
    """The page of a package with these words in place of its ``$names``; whoever calls has escaped them."""
    head, page = (files(home).joinpath(name) for home, name in ((__package__, "head.html"), (package, "page.html")))
    return string.Template(head.read_text("utf-8") + page.read_text("utf-8")).substitute(words)
