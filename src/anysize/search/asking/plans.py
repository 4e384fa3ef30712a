"""
How a segment is searched by default: what the check at build found to lose nothing that the whole rows would find.

Searches ask for few hits as a rule, and all that ask for up to 10 are answered from one list of candidates, so that a
search for more hits begins with the answer to one for fewer; see `PAGES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PAGES = (10, 100, 1000)
"""Hits 1 to 10 are the best of one list of candidates, 11 to 100 of a longer one, then 1,000, then of all rows."""
GOAL = 0.99
MARGIN = 0.002
"""What sampled rows have to find beyond the goal, because they are a sample."""
ERRORS = 3
"""
By how many standard errors they have to, too. Rows of one small cluster miss together, so that 200 sampled rows tell
less than 200 would that miss each by itself.
"""
LEAST_SHARE = 1e-6
"""Part of a vector's length in its prefix below which float32 holds no direction of it."""
SHORTEST = 100
"""Codes propose for a shortlist of true prefix scores as if it were at least so long: short ones are missed sooner."""


@dataclass(frozen=True)
class Tier:
    """How hits up to number `hits` are found."""

    hits: int
    scan: str = "whole"
    """What makes the shortlist: "codes", "prefix" (its true coordinates), "hnsw", "sparse"; or "whole", without one."""
    keep: int = 0
    """Items of the shortlist."""
    then: int = 0
    """How many of them stay by the true prefix, if not all; whole rows of what stays are scored."""
    recall: float = 1.0
    """Share of what whole rows find that it found for sampled rows, at the worst of the numbers of hits tried."""


@dataclass(frozen=True)
class Plans:
    """What the check found for one segment."""

    tiers: tuple[Tier, ...]
    """One for each of `PAGES`."""
    graph: tuple[Tier, ...] = ()
    """The same for ``approximate="hnsw"``; empty without a graph."""
    proposals: Mapping[str, int] = field(default_factory=dict)
    """
    Scanner, such as "codes-64" -> how many times a shortlist of true prefix scores it proposes to find its items.

    One that finds them with no number tried is left out, and the prefix itself is scanned.
    """
    share: float = 0.0
    """Least part of a query's length in the prefix at which the check speaks for it; for others whole rows are read."""
    near: float = 0.0
    """Least score of the best candidate, of a query of length 1, at which it speaks for the query."""
    sampled: int = 0
    why: str = ""
    """Why whole rows are scanned, where they are."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plans:
        """Read what `dataclasses.asdict` wrote."""
        tiers, graph = (tuple(Tier(**tier) for tier in value[name]) for name in ("tiers", "graph"))
        return cls(**{**value, "tiers": tiers, "graph": graph})

    def hits_by(self, *, graph: bool) -> tuple[Tier, ...]:
        """The tiers of a search, by the graph if it may and the check passed."""
        return self.graph if graph and self.graph and self.graph[0].keep else self.tiers

    def describe(self, dims: int, *, graph: bool = False) -> str:
        """The plan for few hits, and why; `dims` is the width of the prefix that shortlists."""
        tier = (self.graph if graph else self.tiers)[0]
        if tier.scan == "whole":
            return f"whole rows ({self.why})"
        what = {"codes": f"codes of {dims} dims", "prefix": f"{dims} dims", "hnsw": "graph", "sparse": "sparse codes"}
        found = f"recall {tier.recall:.3f} on {self.sampled} sampled rows"
        return f"{what[tier.scan]}, {tier.then or tier.keep} rescored ({found})"


def whole(why: str) -> Plans:
    """Scan whole rows."""
    return Plans(tuple(Tier(hits) for hits in PAGES), why=why)


UNCHECKED = whole("an older anysize wrote it and checked no plan; compact it to have one")
