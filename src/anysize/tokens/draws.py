"""Which budgets a training step uses: the same on every rank and after a resume, since a draw keeps no state."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from anysize.core.losses.nested import All, Random
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

Drawing = Literal["all", "random", "uniform", "log-uniform"]


@dataclass(frozen=True)
class Draw:
    """
    ``all`` sizes at every step (M3), one ``random`` one of those listed, or one of all whole numbers up to the largest:
    ``uniform`` (MQT, where 16 of 256 tokens or fewer are 6 % of the steps) or ``log-uniform`` (as often from 1 to 16
    as from 16 to 256).
    """

    kind: Drawing

    def pick(self, nesting: Nesting, step: int, seed: int = 0) -> tuple[Size, ...]:
        """The sizes of one step, smallest first."""
        if self.kind == "all":
            return All().pick(nesting, step, seed)
        if self.kind == "random":
            return Random(1).pick(nesting, step, seed)
        (axis,), most = nesting.axes, int(nesting.full[nesting.axes[0]])
        number = random.Random(f"{seed}:{step}")
        drawn = number.randint(1, most) if self.kind == "uniform" else round(most ** number.random())
        return (Size({axis: drawn}),)
