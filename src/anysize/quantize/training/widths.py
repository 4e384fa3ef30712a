"""
Which widths are trained, with what weights, and which learn from which (MatQuant, equation 7 and section 3.2).

The paper writes [8, 4, 2, 8->2] for losses at three widths and the 2-bit output drawn to the 8-bit one, and
[8, 4, 8->2] where the 2-bit slice learns from that alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from anysize.core.errors import AnysizeError
from anysize.quantize.codes.slicing import check_bits, check_width

BETWEEN = (6, 3)
"""Widths that the paper cuts though nothing trained them."""


@dataclass(frozen=True)
class Widths:
    """What a training run looks at, and what it offers in the end."""

    weights: dict[int, float]
    """Width -> lambda_r of its own loss; 0 where a width learns from a wider one alone."""
    teacher: int | None = None
    pulls: dict[int, float] = field(default_factory=dict)
    """Width -> weight of its pull to the teacher's output."""
    untrained: tuple[int, ...] = ()

    @property
    def trained(self) -> tuple[int, ...]:
        """Widths that were asked for, widest first; one of weight 0 learns only through the codes that others share."""
        return tuple(sorted(self.weights, reverse=True))

    @property
    def looked_at(self) -> tuple[int, ...]:
        """Widths that some term of the loss needs, widest first: only these are run in training."""
        return tuple(b for b in self.trained if self.weights[b] > 0 or b in self.pulls or b == self.teacher)

    @property
    def offered(self) -> tuple[int, ...]:
        """All widths of the nesting, narrowest first."""
        return tuple(sorted({*self.weights, *self.untrained}))


def widths(
    bits: Sequence[int],
    parent: int,
    *,
    weights: Sequence[float] | None = None,
    distill: str | None = None,
    untrained: Sequence[int] | None = None,
    mode: str = "round_clamp",
) -> Widths:
    """
    Read what was asked for. `weights` are lambda, one per width of `bits`; `distill` is like ``8->2`` or ``8->4;2``.

    By default the narrowest width weighs 1 and the others 0.1 (the paper's for Gemma-2), or all 1 with extra
    precision; a pull weighs as much as the loss there would, and 6 and 3 bits are offered where they lie between.
    Raises `SizeError` or `AnysizeError` for widths that do not descend, or do not fit the parent or each other.
    """
    bits = tuple(bits)
    check_bits(bits, parent)
    teacher, students = _distilled(distill, bits)
    narrowest = min((*bits, *students))
    usual = {width: 1.0 if width == narrowest or mode == "extra" else 0.1 for width in (*bits, *students)}
    if weights is None:
        own = {width: usual[width] for width in bits}
    else:
        if len(weights) != len(bits):
            raise AnysizeError(f"{len(weights)} weights for {len(bits)} widths; give one per width")
        if any(not 0 <= weight < float("inf") for weight in weights):
            raise AnysizeError(f"weights are numbers of at least 0; got {', '.join(map(str, weights))}")
        own = dict(zip(bits, map(float, weights), strict=True))
    if not any(own.values()):
        raise AnysizeError("no width has a weight above 0, so there is nothing to learn; give one some weight")
    pulls = {width: own.get(width) or usual[width] for width in students}
    trained = {**own, **{width: own.get(width, 0.0) for width in students}}
    if untrained is None:
        untrained = [width for width in BETWEEN if min(trained) < width < max(trained) and width not in trained]
    for width in untrained:
        check_width(width, max(trained))
    return Widths(trained, teacher, pulls, tuple(width for width in untrained if width not in trained))


def _distilled(text: str | None, bits: tuple[int, ...]) -> tuple[int | None, tuple[int, ...]]:
    if text is None:
        return None, ()
    found = re.fullmatch(r"\s*(\d+)\s*->\s*(\d+(?:\s*[;,]\s*\d+)*)\s*", text)
    if not found:
        raise AnysizeError(f"cannot read {text!r} as a distillation; write it like '8->2' or '8->4;2'")
    teacher = int(found[1])
    students = tuple(int(part) for part in re.split(r"[;,]", found[2]))
    if teacher not in bits:
        raise AnysizeError(f"{text!r} learns from bits={teacher}, which is not one of bits {', '.join(map(str, bits))}")
    for student in students:
        check_width(student, teacher)
        if student == teacher:
            raise AnysizeError(f"{text!r} lets bits={teacher} learn from itself; name narrower widths after the arrow")
    return teacher, students
