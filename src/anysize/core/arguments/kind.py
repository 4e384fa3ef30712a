"""A kind of argument, and the check of what a function is handed: a wrong thing is one sentence and not a traceback."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

from anysize.core.errors import AnysizeError, nearest

F = TypeVar("F", bound=Callable[..., Any])
_LONGEST = 60


class Unfit(Exception):
    """A value is not of its kind; the message, if there is one, says what is wrong inside it."""


@dataclass(frozen=True)
class Kind:
    """What an argument may be: in words, and as a function that gives the value as it is used or raises `Unfit`."""

    words: str
    read: Callable[[Any], Any]
    error: type[AnysizeError] = AnysizeError
    """What is raised for a value of another kind."""

    def __or__(self, other: Kind) -> Kind:
        def either(value: Any) -> Any:
            try:
                return self.read(value)
            except Unfit as first:
                try:
                    return other.read(value)
                except Unfit as second:
                    raise Unfit(str(first) or str(second)) from None

        return Kind(f"{self.words} or {other.words}", either, self.error)


def takes(**kinds: Kind) -> Callable[[F], F]:
    """
    Check the arguments named here whenever the decorated function is called, and hand them on as their kind reads them.

    An argument that keeps its default is not looked at. The function raises `AnysizeError` for a value of another kind,
    and for an argument that it does not have, naming the nearest that it has.
    """

    def decorate(function: F) -> F:
        signature, called = inspect.signature(function), function.__name__.lstrip("_")

        @functools.wraps(function)
        def checked(*given: Any, **named: Any) -> Any:
            try:
                bound = signature.bind(*given, **named)
            except TypeError as error:
                raise AnysizeError(_unbound(called, signature, named, error)) from None
            for name, kind in kinds.items():
                if name in bound.arguments and bound.arguments[name] is not signature.parameters[name].default:
                    bound.arguments[name] = expect(bound.arguments[name], kind, f"{called}: {name}")
            return function(*bound.args, **bound.kwargs)

        return checked  # type: ignore[return-value]  # wraps keeps the signature

    return decorate


def expect(value: Any, kind: Kind, what: str) -> Any:
    """`value` as its kind reads it. Raises `AnysizeError`, which begins with `what`, if it is of another kind."""
    try:
        return kind.read(value)
    except Unfit as error:
        raise kind.error(f"{what} {str(error) or f'is {shown(value)}'}; expected {kind.words}") from None


def shown(value: Any) -> str:
    """A value in a few words, on one line, for a sentence about it."""
    if value is None or isinstance(value, (bool, int, float, str, os.PathLike)):
        text = repr(os.fspath(value)) if isinstance(value, os.PathLike) else repr(value)
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, bytes):
        return "bytes"
    shape = getattr(value, "shape", None)
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    if isinstance(shape, tuple):
        return f"a {kind} of shape {tuple(shape)} and {getattr(value, 'dtype', 'mixed kinds')}"
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return f"a {kind} of {len(value)}"
    return f"the class {kind}" if isinstance(value, type) else f"a {kind}"


def _unbound(function: str, signature: inspect.Signature, named: Mapping[str, Any], error: TypeError) -> str:
    known = [name for name in signature.parameters if name not in ("self", "cls")]
    unknown = next((name for name in named if name not in known), None)
    if unknown is None:
        return f"{function}: {error}; it takes {', '.join(known)}"
    return f"{function} takes no {unknown!r}; {nearest(unknown, known)}"
