"""The folder beside a target where a run keeps what is done, so that a killed one can go on."""

from __future__ import annotations

from pathlib import Path

from anysize.core.errors import CheckpointError
from anysize.core.files import refuse_link

RUN, LOCK = "run.json", "lock"
"""In that folder: what run it is, and who writes there."""


def workdir_of(target: Path) -> Path:
    """The folder of whatever is to be written at `target`."""
    return target.parent / f"{target.name}.partial"


def check_ours(workdir: Path) -> None:
    """Raise `CheckpointError` if what stands at `workdir`, which is emptied in the end, is no unfinished run."""
    for path in (workdir, workdir / "checkpoints", workdir / RUN):
        refuse_link(path)
    there = {path.name for path in workdir.iterdir()} if workdir.is_dir() else set()
    strangers = {name for name in there - {LOCK} if not name.startswith(f".{RUN}.")}
    if (workdir.exists() and not workdir.is_dir()) or (strangers and RUN not in there):
        raise CheckpointError(
            f"{workdir}, where work in progress is kept, holds something else (no {RUN}), so it is not ours to use; "
            "move it away or name another place"
        )
