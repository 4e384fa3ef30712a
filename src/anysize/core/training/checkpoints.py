"""Checkpoints in a working folder: ``checkpoint-N`` are the trainer's, ``step-N`` those of a loop of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from anysize.core.digests import check_seal, seal
from anysize.core.errors import CheckpointError


def last_checkpoint(workdir: Path) -> Path | None:
    """The latest checkpoint that was written to its end, if any."""
    there = workdir / "checkpoints"
    found = [path for pattern in ("checkpoint-*", "step-*") for path in there.glob(pattern)]
    checkpoints = sorted(found, key=lambda path: int(path.name.split("-")[1]))
    return next((path for path in reversed(checkpoints) if _is_whole(path)), None)


def check_checkpoint(checkpoint: Path) -> None:
    """Raise `CheckpointError` if a file of a checkpoint was altered since it was written."""
    try:
        check_seal(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"{error}, or delete {checkpoint} to resume from the one before") from None


def sealing() -> Any:
    """A callback of a trainer that records the files of every checkpoint."""
    import torch
    from transformers import TrainerCallback

    class Sealing(TrainerCallback):
        """Record the files of every checkpoint, once each process has written what it writes there."""

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.barrier()
            if state.is_world_process_zero:
                seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    return Sealing()


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end, where the trainer puts its state; a loop's own appear whole."""
    if checkpoint.name.startswith("step-"):
        return True
    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True
