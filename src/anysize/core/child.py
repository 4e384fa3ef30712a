"""An engine run in a process of its own: where it ends its process, or never ends, that is one sentence of ours."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from anysize.core.errors import AnysizeError


def run_child(program: Path, arguments: Sequence[str | Path], engine: str, timeout: float) -> None:
    """
    Run a Python program of ours, which imports `engine`, with `arguments`.

    Raises `AnysizeError` if it fails, is stopped (C libraries abort), or takes longer than `timeout` seconds.
    """
    # -P: the modules beside the program are ours and not for the engine to import.
    command = [sys.executable, "-P", str(program), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise AnysizeError(f"{engine} did not end within {timeout:.0f} s, so nothing was written") from None
    if done.returncode == 0:
        return
    log = done.stderr.decode("utf-8", "replace").splitlines()
    telling = [line for line in log if "GGML_ASSERT" in line] or [line for line in log if "rror" in line]
    reason = (telling or log[-1:] or ["it said nothing"])[0].strip()
    ended = f"it was stopped by {signal.Signals(-done.returncode).name}" if done.returncode < 0 else "it failed"
    raise AnysizeError(f"{engine} cannot run what was written ({ended}: {reason[:200]}), so nothing was written")
