"""Where training runs: the device, and under torchrun the other processes."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

import torch

from anysize.core.errors import AnysizeError


def device_of(name: str | None) -> torch.device:
    """
    The device of that name; without one, CUDA if it is there, else the processor.

    Under torchrun each process has a CUDA device of its own. Raises `AnysizeError` for a name that is no device, or a
    device that is not here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise AnysizeError(f"{name!r} names no device; expected cpu, cuda or cuda:1") from None
    if device.type not in ("cpu", "cuda"):
        raise AnysizeError(f"autoencoders train on cpu or cuda, not on {name}")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise AnysizeError(f"the device {name} is not here, of {count} CUDA devices; use --device cpu")
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % count)
    return device


_meetings = itertools.count()


@contextlib.contextmanager
def joined(device: torch.device | None = None) -> Iterator[None]:
    """Under torchrun: meet the other processes, and part from them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or torch.distributed.is_initialized():
        yield
        return
    on_gpu = device is not None and device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    # Every meeting under a name of its own: the addresses of an earlier one would be waited for without end.
    store, rank, world = next(torch.distributed.rendezvous("env://"))
    store = torch.distributed.PrefixStore(f"anysize-{next(_meetings)}", store)
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        yield
        # A process that left while another still waited for its last message would take that one down.
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """The rank of the running process, and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def wait() -> None:
    """Until every process has come this far."""
    if place()[1] > 1:
        torch.distributed.barrier()


def part_of(size: int) -> int:
    """The rows of a batch that each process takes. Raises `AnysizeError` if they cannot all take as many."""
    world = place()[1]
    if size % world:
        raise AnysizeError(f"a batch of {size} rows cannot be divided among {world} processes; change batch-size")
    return size // world


def mean_over_processes(mine: torch.Tensor) -> torch.Tensor:
    """
    The mean of a count over all processes.

    A loss that is a sum divided by it is, averaged over the processes, the sum of all divided by the count of all, as
    one process has it. Divided by its own count each rank would weigh the same, however little it holds.
    """
    total, world = mine.detach().float(), place()[1]
    if world > 1:
        torch.distributed.all_reduce(total)
    return total / world


def all_have(mine: bool) -> bool:
    """Whether it holds in every process."""
    if place()[1] == 1:
        return mine
    answer = torch.tensor([mine], dtype=torch.int64, device="cpu")
    torch.distributed.all_reduce(answer, torch.distributed.ReduceOp.MIN)
    return bool(answer)


def first_says(mine: bool) -> bool:
    """What holds in the first process, for which the others wait."""
    if place()[1] == 1:
        return mine
    nccl = torch.distributed.get_backend() == "nccl"
    answer = torch.tensor([mine], dtype=torch.int64, device=torch.cuda.current_device() if nccl else "cpu")
    torch.distributed.broadcast(answer, 0)
    return bool(answer)
