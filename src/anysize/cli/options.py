"""From words to a dataclass: tyro, with lists written with commas as the rest of the world writes them."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any, TypeVar, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

Command = TypeVar("Command")

_registry = ConstructorRegistry()


@_registry.primitive_rule
def _comma_separated(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """``tuple[int, ...]``, of floats and of words, alone or optional, are one word: ``8,16,32``."""
    kinds = [kind for kind in (info.type, *get_args(info.type)) if get_origin(kind) is tuple]
    if not kinds or get_args(kinds[0])[1:] != (Ellipsis,):
        return None
    item = get_args(kinds[0])[0]
    if item not in (int, float, str):
        return None

    def read(words: list[str]) -> tuple[Any, ...]:
        try:
            return tuple(item(part.strip()) for part in words[0].split(",") if part.strip())
        except ValueError:
            kind = "whole numbers such as 8,16,32" if item is int else "numbers such as 1,0.5"
            raise ValueError(f"{words[0]!r} is not a list of {kind}") from None

    def known(value: Any) -> bool:
        return value is None or (isinstance(value, tuple) and all(isinstance(part, item) for part in value))

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME,NAME,..." if item is str else "N,N,...",
        instance_from_str=read,
        is_instance=known,
        str_from_instance=lambda value: ["None" if value is None else ",".join(map(str, value))],
    )


def parse(command: type[Command], words: Sequence[str], *, prog: str) -> Command:
    """Fill the dataclass `command` from command-line words. Raises `AnysizeError`, in one sentence, if it cannot."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                command,
                args=list(words),
                prog=prog,
                registry=_registry,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as left:
        if left.code:
            from anysize.core.errors import AnysizeError

            raise AnysizeError(f"{sentence(said.getvalue())}; `{prog} --help` lists what there is") from None
        raise


def sentence(box: str) -> str:
    """What tyro says in a box, in one sentence: the part above its first rule, without the frame or the title."""
    lines = [line.rstrip().strip("│") for line in box.splitlines() if line.strip() and line.strip()[0] not in "╭╰"]
    rules = [place for place, line in enumerate(lines) if set(line.strip()) <= set("─-")]
    # Where the terminal has no frames to draw, the title stands above a rule of its own.
    start = 0 if "│" in box or not rules else rules[0] + 1
    message = lines[start : next((place for place in rules if place >= start), len(lines))]
    if message and message[0].strip().startswith("Missing from"):
        depth = min((len(line) - len(line.lstrip()) for line in message[1:]), default=0)
        missing = [line.split()[0] for line in message[1:] if len(line) - len(line.lstrip()) == depth]
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    text = " ".join(line.strip() for line in message if line.strip())
    text = text.partition(" Got errors:")[0].removeprefix("Error parsing ").rstrip(" .")
    none = re.fullmatch(r"(\S+): no type matching .*?\b(FLOAT|INT)\b.* from \['(.*)'\]", text)
    if none:
        return f"{none[1]}: '{none[3]}' is not {_KINDS[none[2]]}"
    text = re.sub(r"invalid literal for int\(\) with base 10: ('.*')", r"\1 is not a whole number", text)
    return re.sub(r"could not convert string to float: ('.*')", r"\1 is not a number", text)


_KINDS = {"FLOAT": "a number", "INT": "a whole number"}
