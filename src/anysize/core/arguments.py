"""What a public function is handed, checked where it comes in: a wrong thing is one sentence and not a traceback."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from anysize.core.errors import AnysizeError, DataError

if TYPE_CHECKING:
    import numpy as np

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

        return checked  # type: ignore[return-value]

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
    if isinstance(value, bytes):
        return "bytes"
    shape = getattr(value, "shape", None)
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    if isinstance(shape, tuple):
        return f"a {kind} of shape {tuple(shape)} and {getattr(value, 'dtype', 'mixed kinds')}"
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return f"a {kind} of {len(value)}"
    return f"the class {kind}" if isinstance(value, type) else f"a {kind}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is unknown: "did you mean latents?", or all there are."""
    listed = list(known)
    close = difflib.get_close_matches(name, listed, n=1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(listed)}"


def _unbound(function: str, signature: inspect.Signature, named: Mapping[str, Any], error: TypeError) -> str:
    known = [name for name in signature.parameters if name not in ("self", "cls")]
    unknown = next((name for name in named if name not in known), None)
    if unknown is None:
        return f"{function}: {error}; it takes {', '.join(known)}"
    return f"{function} takes no {unknown!r}; {nearest(unknown, known)}"


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


def _texts(value: Any) -> list[str]:
    if isinstance(value, (str, bytes, Mapping, set, frozenset)):
        raise Unfit(f"is {shown(value)}, not a list" if isinstance(value, str) else "")
    numeric = hasattr(value, "detach") or getattr(getattr(value, "dtype", None), "kind", "O") in "fiubc"
    if numeric or getattr(value, "ndim", 1) != 1 or not isinstance(value, Iterable):
        raise Unfit
    texts = list(value)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise Unfit(f"holds {shown(text)} at place {place} (from 0)")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unfit(f"holds bytes that are not UTF-8 at place {place} (from 0)") from None
    return value if isinstance(value, list) else texts


def _rows(value: Any) -> Any:
    import numpy as np

    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or value is None:
        raise Unfit
    if getattr(value, "is_meta", False):
        raise Unfit("is a tensor without values")
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise Unfit("has masked values")
    try:
        held = value if hasattr(value, "dtype") and hasattr(value, "shape") else np.asarray(value)
    except (ValueError, TypeError):
        raise Unfit("has rows of different widths or kinds") from None
    if len(held.shape) != 2 or not held.shape[1] or not _is_real(held.dtype):
        raise Unfit(f"is {shown(held)}" if len(held.shape) else "")
    return held


def _finite_rows(value: Any) -> Any:
    import numpy as np

    held = _rows(value)
    array = held.detach().float().cpu().numpy() if hasattr(held, "detach") else np.asarray(held)
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.float32, copy=False)).all(1)
    if not finite.all():
        raise Unfit(f"holds NaN or a value too large for float32 in row {int(np.argmin(finite))}")
    return held


def _vector(value: Any) -> Any:
    import numpy as np

    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or getattr(value, "ndim", 1) != 1:
        raise Unfit
    try:
        rows = value[None] if hasattr(value, "dtype") else np.asarray([list(value)])
    except (ValueError, TypeError, KeyError):
        raise Unfit from None
    return _finite_rows(rows)[0]


def _labels(value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or not isinstance(value, Iterable):
        raise Unfit
    if getattr(value, "ndim", 1) != 1:
        raise Unfit
    labels = value.tolist() if hasattr(value, "tolist") else list(value)
    for place, label in enumerate(labels):
        if isinstance(label, bool) or not isinstance(label, (str, numbers.Integral)):
            raise Unfit(f"holds {shown(label)} at place {place} (from 0)")
    return labels


def _is_real(dtype: Any) -> bool:
    """Whether a dtype, NumPy's or torch's, is one of real numbers."""
    if hasattr(dtype, "kind"):
        return dtype.kind in "fiu"
    return not getattr(dtype, "is_complex", False) and str(dtype) != "torch.bool"


def _flag(value: Any) -> bool:
    if str(value) not in ("True", "False") or isinstance(value, str):  # also NumPy's own
        raise Unfit
    return bool(value)


def as_float32(rows: Any) -> np.ndarray:
    """A copy of rows as float32, where a value too large for it is infinite, without a warning."""
    import numpy as np

    with np.errstate(over="ignore"):
        return np.array(rows, np.float32)


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
TEXTS = Kind("a list of texts", _texts, DataError)
ROWS = Kind("rows of numbers, one vector a row", _rows, DataError)
"""An array, a tensor or shards as they are, a list as an array. Whether values are finite is left open."""
FINITE_ROWS = Kind("rows of finite numbers, one vector a row", _finite_rows, DataError)
FLAG = Kind("True or False", _flag)
MAPPING = instance(Mapping, words="a mapping")
VECTOR = Kind("one vector of finite numbers", _vector, DataError)
NUMBERS = Kind("a row of finite numbers", _vector, DataError)
LABELS = Kind("a list of labels, each a text or a whole number", _labels, DataError)
