"""Batches whose memory is bounded: as many rows as fit a number of tokens, however long the longest is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

TOKENS = 64 * 256
"""Tokens in one batch: what the layers' activations grow with."""
PAIRS = 8192 * 8192
"""Pairs of tokens in one batch: what a padded batch's attention mask grows with."""


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[range]:
    """
    Ranges of rows to run together, given their lengths in tokens, longest first.

    At most `batch_size` rows, and so few that the batch, padded to its longest row, keeps within `TOKENS` and `PAIRS`;
    a row that alone exceeds them runs alone.
    """
    start = 0
    while start < len(lengths):
        longest = max(1, lengths[start])
        rows = max(1, min(batch_size, TOKENS // longest, PAIRS // longest**2))
        yield range(start, min(start + rows, len(lengths)))
        start += rows


def readable(text: str, limit: int) -> str:
    """As much of a text as could make `limit` tokens: tokenising a million characters, only to drop them, is slow."""
    return text[: 20 * limit]
