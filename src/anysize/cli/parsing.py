"""From the words of a command line to a filled dataclass; each mistake is one sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from anysize.cli.options import Option, inner, options
from anysize.core.errors import AnysizeError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

Command = TypeVar("Command")

_OPTION = re.compile(r"-[A-Za-z]|--[A-Za-z][\w.-]*(=|$)", re.DOTALL)
"""What is an option and no value: -k, --name, --name=value; but not -5, nor - alone, nor "-- a text with spaces"."""


def parse(command: type[Command], words: Sequence[str], *, prog: str) -> tuple[Command, bool]:
    """
    The dataclass filled from words, and whether JSON is asked for with ``--json``, which every verb takes.

    Raises `AnysizeError`, in one sentence, if it cannot be filled.
    """
    known = options(command)
    try:
        given, as_json = _given(known, words)
        missing = [
            one.name for one in known if one.default is dataclasses.MISSING and (one.group, one.field) not in given
        ]
        if missing:
            raise AnysizeError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    except AnysizeError as error:
        end = " " if str(error).endswith("?") else "; "
        raise AnysizeError(f"{error}{end}`{prog} --help` lists what there is") from None
    return _filled(command, given), as_json


def _filled(command: type[Command], given: dict[tuple[str, str], Any], group: str = "") -> Command:
    values = {name: value for (owner, name), value in given.items() if owner == group}
    for name, (other, kind) in inner(command).items():
        values[name] = _filled(kind, given, other)
    try:
        return command(**values)
    except AnysizeError:
        raise
    except ValueError as error:  # how a dataclass of a stranger refuses its options
        raise AnysizeError(" ".join(str(error).split())) from None


def _given(known: Sequence[Option], words: Sequence[str]) -> tuple[dict[tuple[str, str], Any], bool]:
    """(Group, field) -> its value, of those that were given, and whether JSON is to be printed."""
    by_name = {name: one for one in known if not one.positional for name in (one.name, one.short) if name}
    places = [one for one in known if one.positional]
    found: dict[tuple[str, str], Any] = {}
    as_json = False
    for name, value in _pairs(words, by_name):
        if name is None:
            if not places:
                raise AnysizeError(f"{value!r} is one word too many")
            one = places[0] if places[0].several else places.pop(0)
        elif name == "--json" and value is None:
            as_json = True
            continue
        else:
            one = by_name[name]
        key = (one.group, one.field)
        if one.several:
            found.setdefault(key, []).append(one.read(str(value)))
        elif key in found:
            raise AnysizeError(f"{one.name} is given twice; give it once")
        else:
            found[key] = (one.default is not True) if one.kind is bool else one.read(str(value))
    return found, as_json


def _pairs(words: Sequence[str], known: dict[str, Option]) -> Iterator[tuple[str | None, str | None]]:
    """Each option with its value, None for a flag's; and each other word, under no name."""
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":  # all that follows are words without a name
            yield from ((None, one) for one in left)
            return
        if not _OPTION.match(word):
            yield None, word
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if name not in known and name[:2] in known and not name.startswith("--"):
            name, equals, value = name[:2], "=", word[2:].removeprefix("=")  # -k5
        ahead = bool(left) and not _OPTION.match(left[0]) and left[0] != "--"
        if name == "--json" and not equals and not ("--json" in known and ahead):
            yield name, None
        elif name not in known:
            _unknown(name, known)
        elif known[name].kind is bool:
            if equals:
                raise AnysizeError(f"{name} takes no value; got {value!r}")
            yield name, None
        elif equals:
            yield name, value
        elif ahead:
            yield name, left.pop(0)
        else:
            instead = f"; got {left[0]}, another option" if left and left[0] != "--" else ""
            raise AnysizeError(f"{name} needs a value, {known[name].value}{instead}")


def _unknown(name: str, known: dict[str, Option]) -> NoReturn:
    like = nearest(name, [*known, "--json", "--help"])
    # Where none is like it, all of them would be too many to name.
    raise AnysizeError(f"there is no option {name}" + (f"; {like}" if like.endswith("?") else ""))


def asks_help(words: Sequence[str]) -> bool:
    """Whether -h or --help is among the options."""
    return any(word in ("-h", "--help") for word in words[: list(words).index("--") if "--" in words else None])


def value_of(name: str, words: Sequence[str]) -> str | None:
    """
    What a line gives for the option `name`, read before it is known which other options there are; None for nothing.

    That is no guess: a value never looks like an option, so the name is never the value of another.
    Raises `AnysizeError` if it stands without a value or twice.
    """
    found: list[str] = []
    own = list(words[: words.index("--")] if "--" in words else words)
    for place, word in enumerate(own):
        if word.startswith(f"{name}="):
            found.append(word.partition("=")[2])
        elif word == name:
            after = own[place + 1 : place + 2]
            if not after or _OPTION.match(after[0]):
                raise AnysizeError(f"{name} needs a value")
            found += after
    if len(found) > 1:
        raise AnysizeError(f"{name} is given twice ({' and '.join(found)}); give it once")
    return found[0] if found else None
