"""From words to a dataclass: tyro, with lists written with commas as the rest of the world writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

Command = TypeVar("Command")

_registry = ConstructorRegistry()


@_registry.primitive_rule
def _comma_separated(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """``tuple[int, ...]`` and ``tuple[str, ...]``, alone or optional, are one word: ``8,16,32``."""
    kinds = [kind for kind in (info.type, *get_args(info.type)) if get_origin(kind) is tuple]
    if not kinds or get_args(kinds[0])[1:] != (Ellipsis,):
        return None
    item = get_args(kinds[0])[0]
    if item not in (int, str):
        return None

    def read(words: list[str]) -> tuple[Any, ...]:
        try:
            return tuple(item(part.strip()) for part in words[0].split(",") if part.strip())
        except ValueError:
            raise ValueError(f"{words[0]!r} is not a list of whole numbers such as 8,16,32") from None

    def known(value: Any) -> bool:
        return value is None or (isinstance(value, tuple) and all(isinstance(part, item) for part in value))

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="N,N,..." if item is int else "NAME,NAME,...",
        instance_from_str=read,
        is_instance=known,
        str_from_instance=lambda value: ["None" if value is None else ",".join(map(str, value))],
    )


def parse(command: type[Command], words: Sequence[str], *, prog: str) -> Command:
    """Fill the dataclass `command` from command-line words; exits with status 2 and a usage note if it cannot."""
    return tyro.cli(
        command,
        args=list(words),
        prog=prog,
        registry=_registry,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
