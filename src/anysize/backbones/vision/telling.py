"""What is told while a model of the library generates: that there is a first token, and all ids after each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from anysize.core.model.cost import wait_for_gpu


def telling(first: Callable[[], None] | None, each: Callable[[torch.Tensor], None] | None) -> list[Any]:
    """
    The library's criteria by which to stop, of which none stops anything: `first` is called after the first token,
    `each` after every one with all ids (rows, tokens).
    """
    from transformers import StoppingCriteria

    class Telling(StoppingCriteria):
        """Knows whether it has told."""

        told = False

        def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            if first is not None and not self.told:
                wait_for_gpu()
                first()
            self.told = True
            if each is not None:
                each(input_ids)
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    return [Telling()] if first is not None or each is not None else []
