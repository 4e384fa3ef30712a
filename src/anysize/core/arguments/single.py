"""Kinds of one thing: a path, a text, a flag, a number, an object; and several of one kind in a row."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anysize.core.arguments.kind import Kind, Unfit, shown
from anysize.core.errors import DataError


def _path(value: Any) -> Any:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise Unfit
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise Unfit("holds half a character") from None
    if "\0" in os.fspath(value):
        raise Unfit("holds a NUL character")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit("holds bytes that are not UTF-8 text") from None
    return str(value)


def _flag(value: Any) -> bool:
    if str(value) not in ("True", "False") or isinstance(value, str):  # also NumPy's own
        raise Unfit
    return bool(value)


def whole(least: int = 1, most: int | None = None) -> Kind:
    """A whole number from `least` on, up to `most` if that is given."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise Unfit
        whole_value = int(value)
        if whole_value < least or (most is not None and whole_value > most):
            raise Unfit
        return whole_value

    return Kind(f"a whole number of at least {least}" + (f" and at most {most}" if most is not None else ""), read)


def number(least: float = -math.inf, *, above: float = -math.inf) -> Kind:
    """A finite number of at least `least`, and greater than `above`."""
    bound = f" above {above:g}" if above > -math.inf else f" of at least {least:g}" if least > -math.inf else ""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise Unfit
        if not math.isfinite(value) or value < least or value <= above:
            raise Unfit
        return float(value)

    return Kind(f"a finite number{bound}", read)


def instance(*classes: type, words: str) -> Kind:
    """A thing of one of these classes, as it is."""

    def read(value: Any) -> Any:
        if not isinstance(value, classes):
            raise Unfit
        return value

    return Kind(words, read)


def one_of(choices: Sequence[str]) -> Kind:
    """One of these words."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise Unfit
        return value

    return Kind(f"one of {', '.join(choices)}", read)


def many(kind: Kind, words: str) -> Kind:
    """Several things of one kind in a row; a text is not a row of letters."""

    def read(value: Any) -> list[Any]:
        if isinstance(value, (str, bytes, Mapping, set, frozenset)) or not isinstance(value, Iterable):
            raise Unfit
        if getattr(value, "ndim", 1) != 1:
            raise Unfit
        found = []
        for place, one in enumerate(value):
            try:
                found.append(kind.read(one))
            except Unfit:
                raise Unfit(f"holds {shown(one)} at place {place} (from 0)") from None
        return found

    return Kind(words, read)


PATH = Kind("the path of a file or a folder", _path)
TEXT = Kind("a text", _text, DataError)
FLAG = Kind("True or False", _flag)
MAPPING = instance(Mapping, words="a mapping")
