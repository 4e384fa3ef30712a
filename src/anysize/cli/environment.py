"""Options that a command line leaves out, from variables of the environment, for verbs that run as services."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Any

from anysize.cli.options import Option
from anysize.core.errors import AnysizeError, nearest

FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def from_environment(command: type, known: Sequence[Option]) -> dict[str, Any]:
    """
    Option -> its value, of each that has a variable that is not empty: the prefix that the command names as its
    ``ENVIRONMENT`` (none: nothing is read), and the field in capitals.

    Raises `AnysizeError`, naming the variable, for a value that is none, and for a variable of no option.
    """
    prefix: str = vars(command).get("ENVIRONMENT", "")
    if not prefix:
        return {}
    fields = {prefix + one.field.upper(): one for one in known}
    found = {}
    for name in sorted(name for name, value in os.environ.items() if name.startswith(prefix) and value.strip()):
        if name not in fields:
            raise AnysizeError(f"the variable {name} names no option; {nearest(name, fields)}")
        try:
            found[fields[name].name] = _value(fields[name], os.environ[name].strip())
        except (AnysizeError, ValueError) as error:
            raise AnysizeError(f"the variable {name}: {error}") from None
    return found


def _value(option: Option, said: str) -> Any:
    if option.kind is bool:
        if said.lower() not in FLAGS:
            raise AnysizeError(f"{said!r} is neither 1 nor 0")
        return FLAGS[said.lower()]
    return [option.read(word) for word in shlex.split(said)] if option.several else option.read(said)
