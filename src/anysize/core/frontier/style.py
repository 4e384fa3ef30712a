"""How a frontier is shown, in words and colours: shared by the table, the picture and the page."""

from __future__ import annotations

from pathlib import Path

from anysize.core.frontier.intervals import decimals
from anysize.core.frontier.record import Record
from anysize.core.frontier.records import NESTED, ORIGINAL, Records

ACCENT, INK, SOFT, GRID, PAPER = "#4c3fd1", "#22223b", "#6b7087", "#e8e8f0", "#ffffff"
RIVALS = ("#d97706", "#0f9d8a", "#c2417c", "#5b7c99", "#8a6d3b", "#6a994e")
UNITS = {"bytes": "bytes per item", "flops": "FLOPs per item", "parameters": "parameters", "ms": "ms per query"}
_WORDS = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP", "l0": "L0"}


def title(metric: str) -> str:
    """A metric's name as people write it: ``ndcg@10`` is nDCG@10, and ``-l0``, stored as a negative, is L0."""
    word, at, cutoff = metric.removeprefix("-").partition("@")
    return _WORDS.get(word, f"{word} ".replace("_", " ").replace(" db ", " dB ").rstrip()) + at + cutoff


def number(value: float, decimals: int = 3) -> str:
    """So many decimals, without the zero before the point, as in tables of papers."""
    text = f"{value:.{decimals}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def shown(metric: str, value: float) -> float:
    """The value as people know it: what is stored as a negative, so that higher is better, without its sign."""
    return -value if metric.startswith("-") else value


def with_interval(record: Record, metric: str) -> str:
    """The value and half the width of its interval, in as many digits as that makes sense of: ``.787 ±.031``."""
    value = shown(metric, record.metrics[metric])
    span = record.intervals.get(metric)
    if span is None:
        return number(value)
    digits = decimals(*span)
    return f"{number(value, digits)} \u00b1{number((span[1] - span[0]) / 2, digits)}"


def milliseconds(record: Record) -> str:
    """A time in as many digits as its spread leaves meaning to."""
    assert record.ms is not None
    if record.ms_spread is None:
        return f"{record.ms:.3g}"
    return f"{float(f'{record.ms:.{2 if record.ms_spread < 0.1 * record.ms else 1}g}'):.4g}"


def count(value: float) -> str:
    """A cost in few characters: 1536, 22.7M, 0.31."""
    for start, unit, letter in ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= start:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def colors(arms: tuple[str, ...]) -> dict[str, str]:
    """A colour for each arm: the accent for the nested one, grey for the original, others in order."""
    rivals = [arm for arm in arms if arm not in (NESTED, ORIGINAL)]
    others = {arm: RIVALS[place % len(RIVALS)] for place, arm in enumerate(rivals)}
    return {NESTED: ACCENT, ORIGINAL: SOFT, **others}


def caption(frontier: Records) -> str:
    """What was measured, in the words of the frontier's own description."""
    task = frontier.meta.get("task") or frontier.meta.get("data")
    model = frontier.meta.get("model")
    return " · ".join(str(part) for part in (task, model and Path(str(model)).name) if part)


def times_differ(records: tuple[Record, ...]) -> bool:
    """Whether the times say which size is faster: those of the fastest and of the slowest can be told apart."""
    timed = sorted((record for record in records if record.ms is not None), key=lambda record: record.ms or 0.0)
    return bool(timed) and (len(timed) == 1 or not timed[0].as_fast_as(timed[-1]))


def drawn_cost(frontier: Records) -> str:
    """
    The cost to draw against: bytes, unless every size has the same; then the first that every record knows.

    Where sizes differ in several axes one of them decides the time, so milliseconds come first, if all were measured
    and tell which size is faster.
    """
    several = len({axis for record in frontier.records for axis in record.size}) > 1
    first = ("ms",) if several and times_differ(frontier.records) else ()
    for cost in (*first, "bytes", "parameters", "flops", "ms"):
        known = [getattr(record, cost) for record in frontier.records]
        if all(known) and len(set(known)) > 1:
            return cost
    return "bytes"


SIZE = "size"
"""Drawn over the sizes themselves."""


def drawn_over(frontier: Records) -> str:
    """
    What the picture's axis shows: the cost to draw against, or `SIZE`, along one axis whose sizes cost nearly the same.

    Costs less than a tenth apart, such as the weights of a model with small changes beside them, would put all points
    of a line into one place.
    """
    cost = drawn_cost(frontier)
    one = len({axis for record in frontier.records for axis in record.size}) == 1
    lines = [[getattr(record, cost) for record in frontier.arm(arm)] for arm in frontier.arms]
    lines = [costs for costs in lines if len(costs) > 1 and all(costs)]
    return SIZE if one and lines and all(max(costs) < 1.1 * min(costs) for costs in lines) else cost


def spent(record: Record, over: str) -> float | None:
    """Where a record stands on that axis; None if it is not known."""
    found: float | None = float(next(iter(record.size.values()))) if over == SIZE else getattr(record, over)
    return found


def apart(values: list[float], gap: float) -> list[float]:
    """Increasing places at least `gap` apart, each group of crowded ones centred on its values."""
    groups: list[tuple[float, int]] = []  # (mean of the values, how many)
    for value in values:
        groups.append((value, 1))
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < gap * (groups[-1][1] + groups[-2][1]) / 2:
            (after, more), (before, some) = groups.pop(), groups.pop()
            groups.append(((before * some + after * more) / (some + more), some + more))
    return [middle + gap * (place - (count - 1) / 2) for middle, count in groups for place in range(count)]
