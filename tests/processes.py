"""Processes that a test kills or joins, forked from this one: they need not import anew what took seconds to import."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent


def forked(work: Callable[[], object], **environment: str) -> int:
    """Start `work` in a fork of this process; its number, for `ended`."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        import torch

        os.environ.update(environment)
        warnings.resetwarnings()  # errors in tests, and not what is tested here
        torch.set_num_threads(1)  # the pool of threads did not come along
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(child: int, seconds: float = 240) -> int:
    """How it ended: 0, 1 after an error, minus the number of a signal. One that takes too long is killed."""
    deadline = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGABRT)
        time.sleep(0.01)


def die() -> None:
    """Be killed, as by a machine that fails: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> None:
    """Do `work`, which calls `die` on the way, in a process of its own."""
    assert ended(forked(work)) == -signal.SIGKILL


def together(count: int, work: Callable[[], object]) -> None:
    """Do `work` in so many processes that know of each other, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "CUDA_VISIBLE_DEVICES": ""}
    children = [forked(work, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(count)]
    assert [ended(child) for child in children] == [0] * count


def two_processes(module: str, *words: object) -> str:
    """What a module of the tests prints, run with these words by two processes on the processor."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", module]
    done = subprocess.run(
        [*launch, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
