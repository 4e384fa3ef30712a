"""What a size costs: bytes stored and arithmetic per item, parameters held, and time as measured."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from anysize.core.errors import AnysizeError


@dataclass(frozen=True)
class Cost:
    """
    What one size costs, counted and not timed.

    Raises `AnysizeError` if a count is negative.
    """

    bytes: int
    """Bytes stored per item (an embedding of 64 float32 is 256)."""
    parameters: int
    """Weights that this size reads."""
    flops: int
    """Floating-point operations per item; one multiply-add counts as two."""

    def __post_init__(self) -> None:
        for name in ("bytes", "parameters", "flops"):
            if getattr(self, name) < 0:
                raise AnysizeError(f"a cost cannot be negative, but {name} is {getattr(self, name)}")


def gpu_works() -> bool:
    """Whether work is queued on a GPU by this process."""
    torch = sys.modules.get("torch")  # never imported for this: without torch there is no queue
    return torch is not None and bool(torch.cuda.is_initialized())


def wait_for_gpu() -> None:
    """Until all that was queued on a GPU is done."""
    if gpu_works():
        sys.modules["torch"].cuda.synchronize()
