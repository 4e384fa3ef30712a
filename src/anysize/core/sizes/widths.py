"""The sizes that an embedding is nested at unless someone names others."""

from __future__ import annotations


def default_dims(width: int) -> tuple[int, ...]:
    """
    The powers of two from 8, then the width itself: 384 gives 8, 16, 32, 64, 128, 256, 384.

    Kusupati et al. 2022, section 3: halve until the prefix becomes a bottleneck; the smallest there is 8.
    """
    powers = [2**exponent for exponent in range(3, 16) if 2**exponent < width]
    return (*powers, width)
