"""
The options of a dataclass, as words of a command line: names, kinds, defaults, and the sentence under each field.

A field is an option ``--name`` of its type, or, annotated with `Positional`, a word without a name. A text in the
annotation, ``Annotated[str, "TASK=DATA"]``, is shown in place of a value. ``bool`` is a flag (``--no-name`` where it is
on by default), ``tuple[int, ...]`` one word with commas, ``list`` an option that may be given several times. What may
be a whole number or a text, ``int | str``, is a number where its word is one.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from anysize.core.errors import AnysizeError


@dataclass(frozen=True)
class Positional:
    """In the annotation of a field: it is a word without a name, which is shown as `shown`."""

    shown: str


@dataclass(frozen=True)
class Option:
    """One field as words of a command line."""

    field: str
    kind: Any
    """What one word, or one of the parts between its commas, becomes: int, float, str, Path; bool for a flag."""
    default: Any
    """`dataclasses.MISSING` for what must be given."""
    doc: str
    group: str = ""
    """The method whose option it is; empty for the verb's own."""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    commas: bool = False
    several: bool = False
    positional: bool = False
    short: str | None = None

    @property
    def name(self) -> str:
        """
        As it is typed: ``--batch-size``, ``--no-symmetric``, of a field ``from_`` ``--from``; of a positional one, as
        it is shown.
        """
        if self.positional:
            return str(self.metavar)
        return (
            f"--{'no-' if self.kind is bool and self.default is True else ''}{self.field.rstrip('_').replace('_', '-')}"
        )

    @property
    def value(self) -> str:
        """What stands for its value; empty for a flag, which has none."""
        if self.kind is bool:
            return ""
        usual = {int: "N", float: "X", Path: "PATH"}.get(self.kind, "NAME" if self.commas else "TEXT")
        one = self.metavar or ("{" + ",".join(self.choices) + "}" if self.choices else usual)
        return f"{one},{one},..." if self.commas and not self.metavar else one

    def read(self, word: str) -> Any:
        """The value that a word stands for. Raises `AnysizeError` if it is none of this kind."""
        parts = [part.strip() for part in word.split(",") if part.strip()] if self.commas else [word]
        try:
            values = tuple(self.kind(part) for part in parts)
        except ValueError:
            kind = "a whole number" if self.kind is int else "a number"
            many = "whole numbers such as 8,16,32" if self.kind is int else "numbers such as 1,0.5"
            raise AnysizeError(f"{self.name}: {word!r} is not {f'a list of {many}' if self.commas else kind}") from None
        for value in values:
            if self.choices and value not in self.choices:
                raise AnysizeError(f"{self.name}: {value!r} is none of {', '.join(map(repr, self.choices))}")
        return values if self.commas else values[0]


def options(command: type, group: str = "") -> tuple[Option, ...]:
    """Of every field its option, the positional ones first, and those of the dataclasses that it holds."""
    hints, docs, held = get_type_hints(command, include_extras=True), field_docs(command), inner(command)
    found: list[Option] = []
    for field in dataclasses.fields(command):
        if field.name in held:
            other, kind = held[field.name]
            found += options(kind, other)
        elif field.init:
            found.append(_option(field, hints[field.name], docs.get(field.name, ""), group))
    return tuple(sorted(found, key=lambda option: not option.positional))


def inner(command: type) -> dict[str, tuple[str, type]]:
    """Field -> name and class of the dataclass whose options stand among the command's own, as its metadata says."""
    return {one.name: one.metadata["options"] for one in dataclasses.fields(command) if "options" in one.metadata}


def _option(field: dataclasses.Field[Any], hint: Any, doc: str, group: str) -> Option:
    notes: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        notes = tuple(rest)
    positional = next((note for note in notes if isinstance(note, Positional)), None)
    metavar = positional.shown if positional else next((note for note in notes if isinstance(note, str)), None)
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    kinds = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) in (Union, types.UnionType) and len(kinds) == 1:
        hint = kinds[0]
    origin, inside = get_origin(hint), get_args(hint)
    commas, several = origin is tuple and inside[1:] == (Ellipsis,), origin is list
    if commas or several:
        hint = inside[0]
    choices: tuple[str, ...] = ()
    if get_origin(hint) is Literal:
        choices, hint = get_args(hint), str
    if hint == int | str:
        hint = number_or_word
    if hint not in (int, float, str, bool, Path, number_or_word) or (hint is bool and (commas or several)):
        raise AnysizeError(
            f"the option {field.name} is of the type {hint}, which a command line cannot hold; expected bool, int, "
            "float, str, Path, a Literal of texts, or a tuple[..., ...] or list of these"
        )
    return Option(
        field.name, hint, default, doc, group, metavar, choices, commas, several, positional is not None,
        short=f"-{field.name}" if len(field.name) == 1 else None,
    )  # fmt: skip


def number_or_word(word: str) -> int | str:
    """A whole number where the word is one, else the word."""
    return int(word) if word.isascii() and word.isdecimal() else word


def field_docs(command: type) -> Mapping[str, str]:
    """Field -> the text that stands under it in the source, on one line; those of the class before its bases'."""
    parts = (part for part in reversed(command.__mro__) if dataclasses.is_dataclass(part))
    return {name: doc for part in parts for name, doc in _own_docs(part).items()}


@cache
def _own_docs(part: type) -> Mapping[str, str]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
    except (OSError, TypeError, SyntaxError):  # made on the fly, or without source
        return {}
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(body.body if isinstance(body, ast.ClassDef) else ())
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }
