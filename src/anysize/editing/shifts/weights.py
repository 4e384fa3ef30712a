"""
How much each window counts in the loss of a shift: muKE's nested targets (Su et al. 2025, arXiv 2504.01196).

The shift of window i is fitted to the targets that begin there and end after window i, i+1, ..., N-1. A token counts as
often as targets hold it, divided by their number, each target times its coefficient.
"""

from __future__ import annotations

from collections.abc import Sequence

COEFFICIENTS = ("uniform", "affinity", "window", "last")
ORDERS = ("code", "forward")


def window_weights(
    count: int, i: int, coefficients: str = "uniform", affinities: Sequence[float] = (), order: str = "code"
) -> list[float]:
    """
    Weights of windows i to count - 1 in the loss of shift i.

    ``uniform``: all targets alike, so the weights fall from 1 to 1 / (count - i). ``window``: its own window alone
    (AnyEdit). ``last``: the longest target alone, all windows 1. ``affinity``: a target counts 2 - a, with a the
    affinity of its gradient with that of the own window; `affinities` are those of the targets that end with windows i
    to count - 1, the first of which is 1. In the `order` ``forward`` a target has its own affinity; the published code
    walks the targets from the longest while it reads affinities from the nearest, which ``code`` does too.
    """
    left = count - i
    if coefficients == "window":
        return [1.0] + [0.0] * (left - 1)
    if coefficients == "last":
        return [1.0] * left
    each = [1.0] * left
    if coefficients == "affinity":
        each = [2.0 - one for one in (affinities if order == "forward" else reversed(affinities))]
    return [sum(each[place:]) / left for place in range(left)]


def token_weights(bounds: Sequence[int], i: int, weights: Sequence[float]) -> list[float]:
    """The same for each token from window i on, where windows lie between `bounds`."""
    found: list[float] = []
    for place, weight in enumerate(weights, start=i):
        found += [weight] * (bounds[place + 1] - bounds[place])
    return found
