"""
A package's public names, imported when they are first asked for, so that no `--help` waits for torch.

They stand once, in the package's ``__init__.pyi``, a line each: ``from module import name as name``. Type checkers and
editors read those lines as they are; at run time they are the table of where a name is found.
"""

from __future__ import annotations

import importlib
import os

TYPE_CHECKING = False  # as type checkers know it, without the time that importing typing takes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of the package whose ``__init__.py`` is `file`."""
    homes = table(f"{os.path.splitext(file)[0]}.pyi")

    def found(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if homes[name] == package:
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(homes[name]), name)

    return found, lambda: sorted(homes), list(homes)


def table(stub: str) -> dict[str, str]:
    """Public name -> the module that it is imported from, in the order of the stub."""
    with open(stub, encoding="utf-8") as lines:
        words = [line.split() for line in lines if line.startswith("from ")]
    return {name: home for _, home, _, name, *_ in words}
