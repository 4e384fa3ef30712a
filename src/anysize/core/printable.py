"""Words of others for a terminal: what it would act on (colours, moves, new lines, order of writing) is written out."""

from __future__ import annotations

import re

# Control characters and the line ends of Unicode; the marks that turn the order of writing, with which a text can show
# other words than it holds; and halves of characters, which cannot be written at all.
_ACTS = "\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_A_LINE, _IN_A_PAGE = re.compile(f"[\n{_ACTS}]"), re.compile(f"[{_ACTS}]")


def printable(text: str) -> str:
    """The text on one line, with each such character as its escape, as Python and C write it."""
    return _IN_A_LINE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_page(text: str) -> str:
    """The same of several lines, whose ends stay."""
    return _IN_A_PAGE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_json(text: str) -> str:
    """JSON with such characters as JSON's escapes, which means the same values."""
    return _IN_A_PAGE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
