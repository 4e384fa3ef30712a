"""
From the words of a command line to a filled dataclass; each mistake is one sentence.

argparse tells options, their values and other words apart; what a value may be, and the sentences, are ours.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeVar

from anysize.cli.environment import from_environment
from anysize.cli.options import Option, inner, options
from anysize.core.errors import AnysizeError, nearest

Command = TypeVar("Command")
Names = Iterable[tuple[str, ...]]


class _Reader(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """All that argparse itself finds wrong, as it is asked here, is a flag with a value."""
        said = message.removeprefix("argument ").replace(": ignored explicit argument", " takes no value; got")
        raise AnysizeError(said)


def _read(words: Sequence[str], valued: Names = (), flags: Names = ()) -> tuple[dict[str, list[Any]], list[str]]:
    """Name -> its values (None: without one), ``words`` -> those of no option; and the rest, an unknown one first."""
    reader = _Reader(usage="", add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for names in valued:
        reader.add_argument(*names, dest=names[-1], action="append", nargs="?")
    for names in flags:
        reader.add_argument(*names, dest=names[-1], action="append_const", const=None)
    reader.add_argument("words", nargs="*")
    end = words.index("--") if "--" in words else len(words)  # all after it are words of no option
    alike = [re.sub(r"\A--[\w-]+(?==|\Z)", lambda name: name[0].replace("_", "-"), word) for word in words[:end]]
    space, unknown = reader.parse_known_intermixed_args(alike)
    found = vars(space)
    return {**found, "words": [*found.get("words", ()), *words[end + 1 :]]}, unknown


def parse(command: type[Command], words: Sequence[str], *, prog: str) -> tuple[Command, bool]:
    """
    The dataclass filled from words (and from the environment, if it says so), and whether JSON is asked for with
    ``--json``, which every verb takes.

    Raises `AnysizeError`, in one sentence, if it cannot be filled.
    """
    known = options(command)
    try:
        given, as_json = _given(known, words)
        values = from_environment(command, known)
        values |= {one.name: _value(one, given[one.name]) for one in known if one.name in given}
        missing = [one.name for one in known if one.default is dataclasses.MISSING and one.name not in values]
        if missing:
            raise AnysizeError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    except AnysizeError as error:
        end = " " if str(error).endswith("?") else "; "
        raise AnysizeError(f"{error}{end}`{prog} --help` lists what there is") from None
    return _filled(command, known, values), as_json


def _filled(command: type[Command], known: Sequence[Option], values: dict[str, Any], group: str = "") -> Command:
    own = {one.field: values[one.name] for one in known if one.group == group and one.name in values}
    held: dict[str, Any] = {field: _filled(kind, known, values, name) for field, (name, kind) in inner(command).items()}
    try:
        return command(**own, **held)
    except AnysizeError:
        raise
    except ValueError as error:  # how a dataclass of a stranger refuses its options
        raise AnysizeError(" ".join(str(error).split())) from None


def _given(known: Sequence[Option], words: Sequence[str]) -> tuple[dict[str, list[Any]], bool]:
    """Name -> the words given for it, and whether JSON is to be printed."""
    named = {one.name: (one.short, one.name) if one.short else (one.name,) for one in known if not one.positional}
    flags = {one.name for one in known if one.kind is bool} | ({"--json"} - set(named))
    valued = [names for name, names in named.items() if name not in flags]
    given, unknown = _read(words, valued, [named.get(name, (name,)) for name in flags])
    if unknown:
        name = unknown[0].partition("=")[0]
        before = words[words.index(unknown[0]) - 1] if unknown[0] in words[1:] else ""
        if any(before in names for names in valued):
            written = f"{before}={unknown[0]}"
            raise AnysizeError(f"{before} needs a value; one that begins with a hyphen is written {written}")
        if not name.startswith("--"):
            raise AnysizeError(f"there is no option {name}; where it is a word, write -- before it")
        like = nearest(name, [*named, "--json", "--help"])
        # Where none is like it, all of them would be too many to name.
        raise AnysizeError(f"there is no option {name}" + (f"; {like}" if like.endswith("?") else ""))
    as_json = set(given.get("--json", ())) == {None}
    if as_json:
        del given["--json"]
    left = given.pop("words")
    for one in known:
        if one.positional and left:
            given[one.name], left = (left, []) if one.several else (left[:1], left[1:])
    if left:
        raise AnysizeError(f"{left[0]!r} is one word too many")
    return given, as_json


def _value(option: Option, given: list[Any]) -> Any:
    if option.kind is bool:
        return option.default is not True
    if option.several:
        return [option.read(_one(option.name, [word], option.value)) for word in given]
    return option.read(_one(option.name, given, option.value))


def _one(name: str, given: list[Any], shown: str) -> str:
    if None in given:
        raise AnysizeError(f"{name} needs a value, {shown}")
    if len(given) > 1:
        raise AnysizeError(f"{name} is given twice ({' and '.join(given)}); give it once")
    return str(given[0])


def asks_help(words: Sequence[str]) -> bool:
    """Whether -h or --help is among the options."""
    return "--help" in _read(words, flags=[("-h", "--help")])[0]


def value_of(name: str, words: Sequence[str]) -> str | None:
    """
    What a line gives for the option `name`, read before it is known which other options there are; None for nothing.

    That is no guess: a value never looks like an option, so the name is never the value of another.
    Raises `AnysizeError` if it stands without a value or twice.
    """
    found, _ = _read(words, [(name,)])
    return _one(name, found[name], "NAME") if name in found else None
