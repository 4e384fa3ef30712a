"""Options of a method or an evaluator, given by name in Python: unknown names and other kinds of values are refused."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from anysize.core.arguments.kind import shown
from anysize.core.errors import AnysizeError, nearest

M = TypeVar("M")


def configured(method: type[M], name: str, options: Mapping[str, Any], kind: str = "method") -> M:
    """
    An object of the dataclass of a method, or of another `kind` of thing, with these options.

    Raises `AnysizeError` for an option that it does not have, naming the nearest, and for a value of another kind than
    the field's; a list where a tuple is expected is taken.
    """
    if not options:
        return method()
    if not dataclasses.is_dataclass(method):
        raise AnysizeError(f"the {kind} {name!r} has no options that could be set by name; make its object")
    known = [field.name for field in dataclasses.fields(method) if field.init]
    hints = get_type_hints(method)
    chosen = {}
    for option, value in options.items():
        if option not in known:
            raise AnysizeError(f"the {kind} {name!r} has no option {option!r}; {nearest(option, known)}")
        if isinstance(value, list) and get_origin(hints[option]) is not list:
            value = tuple(value)
        if not _fits(value, hints[option]):
            raise AnysizeError(f"{option} is {shown(value)}; the {kind} {name!r} expects {_words(hints[option])}")
        chosen[option] = value
    return method(**chosen)


def _fits(value: Any, hint: Any) -> bool:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inside)
    if origin is Literal:
        return isinstance(value, str) and value in inside
    if origin in (tuple, list):
        return isinstance(value, origin) and all(_fits(one, inside[0]) for one in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def _words(hint: Any) -> str:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(one) for one in inside)
    if origin is Literal:
        return f"one of {', '.join(map(str, inside))}"
    if origin in (tuple, list):
        return f"several, each {_words(inside[0])}"
    known = {int: "a whole number", float: "a finite number", str: "a text", bool: "True or False", type(None): "None"}
    return known.get(hint, getattr(hint, "__name__", str(hint)))
