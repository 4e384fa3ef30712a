"""
Adaptive and funnel retrieval (MRL, Kusupati et al. 2022, section 4.3): stages, their default, their counted cost.

A shortlist is made with a short prefix of every vector, then rescored with longer ones: one rescoring stage is
adaptive retrieval, several are funnel retrieval. Where items have sparse codes (CSR, Wen et al. 2025), these can make
the shortlist instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anysize.core.arguments import TEXT, shown, takes
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.menu import read_one
from anysize.core.sizes.nesting import Nesting

_FEW = 10
"""Below this many times the first shortlist, the exact scan is the plan: a funnel would save nothing worth a miss."""


@dataclass(frozen=True)
class Sparse:
    """The sparse codes that items have beside their vectors."""

    latents: int
    """How many latents there are."""
    active: int
    """How many of them a code has, at most."""
    vectors: bool = True
    """Whether the vectors are kept too, to rescore with."""


@dataclass(frozen=True)
class Stage:
    """
    Score what is left with the first `dims` coordinates and keep the best `keep`.

    With `active` in place of `dims`, every item is scored by its sparse code, against the `active` strongest latents
    of the query's. `keep=None` is for the last stage, which keeps as many hits as the search asks for.
    """

    dims: int = 0
    keep: int | None = None
    active: int | None = None

    def __post_init__(self) -> None:
        if self.active is not None and self.dims:
            raise SizeError(f"a stage scores by dims={self.dims} or by active={self.active}; give one of the two")
        how = ("dims", self.dims) if self.active is None else ("active", self.active)
        for name, value in (how, ("keep", self.keep)):
            if value is None and name == "keep":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SizeError(f"a stage's {name} is {shown(value)}; expected a whole number of at least 1")

    @classmethod
    @takes(text=TEXT)
    def parse(cls, text: str) -> Stage:
        """Read one stage as it is typed: ``"dims=64:200"``, ``"64:200"`` or ``"active=32:200"``; the last ``"384"``."""
        axis = "active" if text.strip().startswith("active") else "dims"
        try:
            values: Any = read_one(text, (axis, "keep") if ":" in text else (axis,))
        except SizeError:
            raise SizeError(
                f"cannot read {text!r} as a stage; write it like dims=64:200, and the last one like dims=384"
            ) from None
        return cls(**values)

    @classmethod
    @takes(text=TEXT)
    def parse_all(cls, text: str) -> tuple[Stage, ...]:
        """Read a list of stages: ``"dims=64:200,dims=384"``."""
        return tuple(cls.parse(part) for part in text.split(","))

    def __str__(self) -> str:
        return self.size + ("" if self.keep is None else f":{self.keep}")

    @property
    def size(self) -> str:
        """What it scores by, as typed, without how many it keeps."""
        return f"dims={self.dims}" if self.active is None else f"active={self.active}"


def default_stages(nesting: Nesting, count: int, k: int) -> tuple[Stage, ...]:
    """
    A funnel that nothing was measured for, which is what a back end runs that cannot check one.

    Shortlist at the smallest size of at least 32 dims and a quarter of the full size; keep a quarter of sqrt(count)
    items, and at least ten times the next of 100, 1,000, ... hits, so that nearby k have one shortlist and fewer hits
    begin more; then rescore at full size. A corpus of less than ten shortlists is scanned exactly.
    """
    first, full = shortlist_dims(nesting), nesting.full.dims
    hits = 100
    while hits < k:
        hits *= 10
    keep = max(10 * hits, round(count**0.5 / 4))
    if first == full or count < _FEW * keep:
        return (Stage(full),)
    return (Stage(first, keep), Stage(full))


def shortlist_dims(nesting: Nesting) -> int:
    """The size that shortlists by default: the smallest of at least 32 dims and at least a quarter of the full size."""
    full = nesting.full.dims
    return next(dims for dims in nesting.values("dims") if dims >= min(full, max(32, full / 4)))


def code_sizes(nesting: Nesting) -> tuple[int, ...]:
    """The sizes that have codes: from 32 dims to the one that shortlists by default; none if that is the full one."""
    last = shortlist_dims(nesting)
    if last == nesting.full.dims:
        return ()
    return tuple(dims for dims in nesting.values("dims") if min(32, last) <= dims <= last)


def check_stages(stages: Sequence[Stage], nesting: Nesting, k: int, sparse: Sparse | None = None) -> tuple[Stage, ...]:
    """
    The stages of a search for `k` hits: sizes trained for, growing, shortlists that do not grow, full size last.

    A stage over sparse codes can only be the first.
    Raises `SizeError` or `AnysizeError`, naming the stage that breaks the rule.
    """
    full = nesting.full.dims
    if not stages:
        raise AnysizeError(f"a search needs at least one stage, for example dims={full}")
    for place, stage in enumerate(stages):
        if stage.active is None:
            nesting.resolve(dims=stage.dims)
        elif sparse is None:
            raise AnysizeError(f"these items have no sparse codes to score {stage} by; build with a sparse model")
        elif place or stage.active > sparse.active:
            raise AnysizeError(f"codes of up to {sparse.active} active latents can be scored, and first; got {stage}")
    for before, after in itertools.pairwise(stages):
        if after.dims <= before.dims:
            raise AnysizeError(f"stages must grow: {after} comes after {before}")
        if before.keep is None:
            raise AnysizeError(f"only the last stage may leave out how many to keep; write {before.size}:200")
        if after.keep is not None and after.keep > before.keep:
            raise AnysizeError(f"shortlists cannot grow: {after} comes after {before}")
    last = stages[-1]
    if sparse is not None and not sparse.vectors:
        if len(stages) > 1 or last.active is None:
            raise AnysizeError(f"this index holds sparse codes alone, so active={sparse.active} is its only stage")
    elif last.dims != full:
        raise AnysizeError(f"the last stage must use the full size, so that scores are true; add dims={full}")
    for stage in stages:
        if stage.keep is not None and stage.keep < k:
            raise AnysizeError(f"stage {stage} keeps fewer items than the {k} hits asked for; keep at least {k}")
    return tuple(stages)


def multiply_adds(count: int, stages: Sequence[Stage]) -> int:
    """
    Counted cost of one query: ``N * D_s + sum over later stages of K_i * D_i`` (MRL, section 4.3).

    Counted as the paper does, each stage scoring its whole prefix; running partial sums need less, and so do sparse
    codes, of which at most `active` entries meet.
    """
    total, left = 0, count
    for stage in stages:
        total += left * (stage.active or stage.dims)
        left = left if stage.keep is None else min(left, stage.keep)
    return total
