"""The checkpoints that the trainer leaves in a working folder."""

from __future__ import annotations

import json
from pathlib import Path


def last_checkpoint(workdir: Path) -> Path | None:
    """The latest checkpoint that was written to its end, if any."""
    checkpoints = sorted((workdir / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    return next((path for path in reversed(checkpoints) if _is_whole(path)), None)


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: trainer_state.json comes last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True
