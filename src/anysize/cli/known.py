"""The methods that are registered, ours and strangers': what each says of itself, without importing what it needs."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from anysize.cli.help import row
from anysize.cli.wrapping import wrapped


@dataclass(frozen=True)
class Known:
    """A registered method."""

    name: str
    family: str
    """The part of anysize that it is of, or a stranger's package."""
    package: str
    """The distribution that brings it."""
    method: Any
    """Its class; None if that cannot be imported."""
    trouble: str | None = None
    """Why it cannot be imported."""

    @property
    def line(self) -> str:
        """What it makes, in a line: the first of its docstring."""
        return self.trouble or inspect.cleandoc(self.method.__doc__ or "").partition("\n")[0].replace("``", "`")

    @cached_property
    def missing(self) -> list[str]:
        """The packages of its extra that are not installed."""
        extra = None if self.method is None else self.method.extra
        return [] if extra is None else _missing(self.package, extra)

    def to_json(self) -> dict[str, Any]:
        """All that is said of it, as plain values."""
        of = self.method
        facts = {} if of is None else {"axes": list(of.axes), "paper": of.paper, "learns_from": of.learns_from}
        extra = None if of is None else of.extra
        installed = {"extra": extra, "installed": of is not None and not self.missing, "missing": self.missing}
        return {
            "method": self.name,
            "family": self.family,
            "package": self.package,
            "line": self.line,
            **facts,
            **installed,
        }


def known_methods() -> list[Known]:
    """Every registered method, by family; one whose package is broken says so and hides no other."""
    entries = {entry.name: entry for entry in importlib.metadata.entry_points(group="anysize.methods")}
    found = []
    for name, entry in entries.items():
        parts = entry.module.split(".")
        family = parts[1] if parts[0] == "anysize" and len(parts) > 1 else parts[0]
        package = entry.dist.name if entry.dist is not None else parts[0]
        try:
            found.append(Known(name, family, package, entry.load()))
        except Exception as error:  # whatever a stranger's module raises
            said = " ".join(str(error).split())
            found.append(Known(name, family, package, None, f"cannot be imported ({type(error).__name__}: {said})"))
    return sorted(found, key=lambda one: (one.package != "anysize", one.family, one.name))


def listed() -> str:
    """The methods by family, a line each, as paragraphs of help."""
    blocks = [wrapped("methods, of which `anysize methods` tells the papers and what they need", first="  ")]
    for family, methods in groupby(known_methods(), key=lambda one: one.family):
        blocks.append("\n".join([f"  {family}", *(row(one.name, one.line, indent=4) for one in methods)]))
    return "\n\n".join(blocks)


def _missing(package: str, extra: str) -> list[str]:
    """Of the packages that an extra asks for, those that are not there; their versions are not looked at."""
    lacking = []
    for requirement in importlib.metadata.requires(package) or ():
        name = re.match(r"[\w.-]+", requirement)
        if name and re.search(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]", requirement):
            try:
                importlib.metadata.version(name[0])
            except importlib.metadata.PackageNotFoundError:
                lacking.append(name[0])
    return lacking
