"""From frames to tokens of the language model: fewer of them, then a projector (Llama-MTSK, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from anysize.core.errors import AnysizeError, SizeError
from anysize.tokens.budget.frames import FrameRate


class RateProjector(nn.Module):
    """
    Frames of one kind at several rates: pooled or stacked, then Linear, ReLU, Linear and, if `norm`, a LayerNorm.

    Every rate has weights of its own, as in the paper; or all `share` one set, and then any rate runs. Raises
    `AnysizeError` if stacked frames, which are as wide as the rate is high, are to share one.
    """

    def __init__(
        self, reduce: FrameRate, rates: Iterable[int], width: int, out: int, *, hidden: int, share: bool, norm: bool
    ) -> None:
        super().__init__()
        if share and reduce.mode == "stack":
            raise AnysizeError("stacked frames differ in width between rates, so they cannot share a projector; pool")
        self.reduce, self.share = reduce, share
        names = ["shared"] if share else [str(rate) for rate in rates]
        stacked = reduce.mode == "stack"
        self.maps = nn.ModuleDict(
            {name: _map(width * (int(name) if stacked else 1), hidden, out, norm) for name in names}
        )

    def forward(self, frames: Sequence[torch.Tensor], rate: int) -> list[torch.Tensor]:
        """
        (frames, width) each -> (tokens, out) each.

        Raises `SizeError`, naming those that there are, for a rate that has no weights.
        """
        name = "shared" if self.share else str(rate)
        if name not in self.maps:
            raise SizeError(f"no projector was trained for rate {rate}; there are {', '.join(self.maps)}")
        lengths = torch.tensor([len(one) for one in frames], device=frames[0].device)
        kept = self.reduce.keep(nn.utils.rnn.pad_sequence(list(frames), batch_first=True), rate, lengths)
        made = self.maps[name](kept.values)
        return [row[:count] for row, count in zip(made, kept.lengths.tolist(), strict=True)]


def _map(width: int, hidden: int, out: int, norm: bool) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out), nn.LayerNorm(out) if norm else nn.Identity()
    )
