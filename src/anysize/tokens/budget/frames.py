"""
Fewer frames of a sound or a film, by averaging or stacking neighbours (Llama-MTSK, arXiv 2503.06362, section 3.1).

A rate r makes one token of r frames in a row. As a share of what is kept, that is 1/r. What the papers' code does with
a length that r does not divide is to drop the last frames, up to r - 1 of them and the last sound with them; ``keep``
makes a token of what is left, the mean of as many frames as there are (averaging) or filled with zeros (stacking).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError, SizeError


class Frames(NamedTuple):
    """Frames of several items, padded at the end."""

    values: torch.Tensor
    """(n, frames, width); zero beyond an item's length."""
    lengths: torch.Tensor
    """(n,) frames of each item."""


class FrameRate:
    """
    One token of `rate` frames: their mean (``pool``), or all of them side by side (``stack``, `rate` times as wide).

    Frames beyond an item's length count for nothing, so that what an item gives does not depend on its batch.
    Raises `AnysizeError` for another mode or rule.
    """

    def __init__(self, mode: Literal["pool", "stack"] = "pool", remainder: Literal["drop", "keep"] = "keep") -> None:
        if mode not in ("pool", "stack"):
            raise AnysizeError(f"frames are reduced by pool or stack, not by {mode!r}")
        if remainder not in ("drop", "keep"):
            raise AnysizeError(f"frames that fill no window are dropped or kept (drop, keep); got {remainder!r}")
        self.mode, self.remainder = mode, remainder

    def count(self, frames: int, rate: int) -> int:
        """The tokens of so many frames."""
        return frames // rate if self.remainder == "drop" else -(-frames // rate)

    def keep(self, values: torch.Tensor, rate: int, lengths: torch.Tensor | None = None) -> Frames:
        """
        (n, frames, width) -> (n, tokens, width), or (n, tokens, rate * width) stacked.

        Raises `SizeError` for a rate below 1, or one at which an item keeps no token.
        """
        n, frames = values.shape[:2]
        if lengths is None:
            lengths = torch.full((n,), frames, device=values.device)
        if rate < 1:
            raise SizeError(f"a rate is a whole number of frames; got {rate}")
        counts = torch.div(lengths + (0 if self.remainder == "drop" else rate - 1), rate, rounding_mode="floor")
        if bool((counts < 1).any()):
            raise SizeError(f"rate {rate} leaves no token of {int(lengths.min())} frames; expected a lower rate")
        most = int(counts.max())
        there = torch.arange(frames, device=values.device) < lengths[:, None]
        values = values * there[..., None]
        more = most * rate - frames
        values = functional.pad(values, (0, 0, 0, more)) if more > 0 else values[:, : most * rate]
        there = functional.pad(there, (0, more)) if more > 0 else there[:, : most * rate]
        windows, filled = values.unflatten(1, (most, rate)), there.unflatten(1, (most, rate))
        mean = windows.sum(2) / filled.sum(2, keepdim=True).clamp(min=1)
        kept = windows.flatten(2) if self.mode == "stack" else mean
        beyond = torch.arange(most, device=values.device) >= counts[:, None]
        return Frames(kept.masked_fill(beyond[..., None], 0.0), counts)
