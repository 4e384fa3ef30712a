"""
The page that ``anysize VERB --help`` prints, wrapped to the terminal.

Not argparse's: its formatter breaks names at hyphens, wraps no long list of choices, and lists no methods.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable

from anysize.cli.options import Option, options
from anysize.cli.wrapping import columns, wrapped

_NAMES = 20
"""Columns for the names of options, where the terminal is wide enough for two columns."""


def page(command: type, prog: str) -> str:
    """Usage, what the verb does, its words and options, a method's own apart."""
    known = options(command)
    words = " ".join(
        one.name if one.default is dataclasses.MISSING else f"[{one.name}]" for one in known if one.positional
    )
    must = " ".join(
        f"{one.name} {one.value}" for one in known if not one.positional and one.default is dataclasses.MISSING
    )
    rest = "[--json]" if all(one.positional for one in known) else "[options]"
    usage = " ".join(part for part in (prog, words, must, rest) if part)
    parts = [wrapped(usage, first="usage: "), *paragraphs(command), _rows(one for one in known if one.positional)]
    groups = dict.fromkeys(one.group for one in known if not one.positional)
    for group in groups:
        rows = [one for one in known if one.group == group and not one.positional]
        parts.append(f"{f'options of {group}' if group else 'options'}\n{_rows(rows)}")
    return "\n\n".join(part for part in parts if part)


def paragraphs(command: type) -> list[str]:
    """The docstring, paragraph by paragraph; one that is indented is in lines already."""
    texts = inspect.cleandoc(command.__doc__ or "").replace("``", "`").split("\n\n")
    return [text if text.startswith("  ") else wrapped(" ".join(text.split())) for text in texts]


def _rows(these: Iterable[Option]) -> str:
    return "\n".join(row(_head(one), told(one)) for one in these)


def _head(option: Option) -> str:
    if option.positional:
        return option.name
    names = f"{option.short}, {option.name}" if option.short else option.name
    return f"{names} {option.value}".rstrip()


def row(head: str, text: str, indent: int = 2) -> str:
    """A name and what it is, beside it or, where there is no room, below it."""
    wide, left = columns() >= 60, " " * indent
    if wide and len(head) + indent <= _NAMES + 2:
        return wrapped(text, first=f"{left}{head}".ljust(_NAMES + 4))
    below = wrapped(text, first=" " * (_NAMES + 4 if wide else indent + 4))
    return f"{wrapped(head, first=left)}\n{below}" if head else below


def told(option: Option) -> str:
    """What an option does, as its name reads, and what holds without it."""
    doc, default = option.doc.replace("``", "`"), option.default
    if option.kind is bool:
        return f"Turns off what is on by default: {doc[:1].lower()}{doc[1:]}" if default is True else doc
    if default is dataclasses.MISSING:
        return doc if option.positional else f"{doc} Required."
    if default is None or "default" in doc.lower() or default in ((), []):
        return f"{doc} May be given several times." if option.several else doc
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f"{doc} Default: {shown}."
