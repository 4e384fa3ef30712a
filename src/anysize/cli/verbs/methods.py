"""``anysize methods``: what `fit` can do, from which paper, on which data, and what must be installed for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anysize.cli.help import row
from anysize.cli.known import Known, known_methods
from anysize.cli.wrapping import wrapped


@dataclass
class Methods:
    """List the methods of `anysize fit`: the axis in which each nests, its paper, the data and packages it needs."""

    def run(self) -> Listed:
        """Ask every registered method; nothing that they need is imported."""
        return Listed(known_methods())


@dataclass(frozen=True)
class Listed:
    """The methods that there are."""

    methods: list[Known]

    def text(self) -> str:
        """A block for each family, some lines a method."""
        blocks = []
        for family in dict.fromkeys(one.family for one in self.methods):
            blocks.append(f"{family}")
            blocks += [_block(one) for one in self.methods if one.family == family]
        return "\n\n".join([*blocks, wrapped("`anysize fit --method NAME --help` lists the options of one.")])

    def to_json(self) -> list[dict[str, Any]]:
        """The same, as a list of objects."""
        return [one.to_json() for one in self.methods]


def _block(one: Known) -> str:
    if one.method is None:
        return row(one.name, one.line)
    of = one.method
    axes = f"Nests in {' and '.join(of.axes)}; learns from" if of.axes else "Learns from"
    have = "is installed" if not one.missing else f"lacks {', '.join(one.missing)}"
    extra = "" if of.extra is None else f" The extra {one.package}[{of.extra}] {have}."
    return "\n".join([row(one.name, one.line), row("", f"{axes} {of.learns_from}.{extra}"), row("", f"{of.paper}.")])
