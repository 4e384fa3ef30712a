"""
Bytes read from disk to load a nested model at each size, against the file's size.

    python -m benchmarks.core.partial_loading --scratch DIR

Writes a head of 4096 x 4096 (a large embedding model's width; weights made here), drops it from the page cache, loads
it at each size in a fresh process, and asks the kernel how many bytes came from the disk. DIR must lie on a real disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from anysize.core.model.checkpoint import WEIGHTS
from anysize.core.model.manifest import bytes_read
from anysize.core.sizes.nesting import Nesting
from anysize.text.embedder.model import Embedder
from benchmarks.common import arguments
from benchmarks.evidence import write_row

DIMS = (64, 128, 256, 512, 1024, 2048, 4096)

LOAD = """
import json, sys
from anysize.text.embedder.model import Embedder
def from_disk():
    return int(next(line.split()[1] for line in open("/proc/self/io") if line.startswith("read_bytes")))
before = from_disk()
model = Embedder.load(sys.argv[1], dims=int(sys.argv[2]))
print(json.dumps([from_disk() - before, list(model.weight.shape)]))
"""


def main() -> None:
    """Measure and write the row."""
    parser = arguments(__doc__, "scratch")
    path = parser.parse_args().scratch / "partial"
    torch.manual_seed(0)
    Embedder(Nesting(dims=DIMS), 4096, weight=torch.randn(4096, 4096)).save(path)
    whole = (path / WEIGHTS).stat().st_size
    entries = json.loads((path / "anysize.json").read_text())["tensors"]
    values: dict[str, dict[str, list[float]]] = {"bytes of that size's weights": {}, "bytes read from disk": {}}
    for dims in DIMS:
        values["bytes of that size's weights"][f"dims={dims}"] = [bytes_read(entries, {"weight": dims})]
        values["bytes read from disk"][f"dims={dims}"] = [_cold_load(path, dims) for _ in range(3)]
    read = values["bytes read from disk"]
    smallest = sum(read[f"dims={DIMS[0]}"]) / 3
    write_row(
        "core-partial-loading",
        paper="none; a property of the storage",
        claim="Loading at a size reads only that size's bytes",
        reported="not reported",
        arms=list(values),
        metric="bytes",
        values=values,
        outcome="won" if smallest < 0.05 * whole and sum(read["dims=1024"]) / 3 < 0.3 * whole else "lost",
        note=f"Loading at dims=64 read {smallest / 1e6:.2f} of the file's {whole / 1e6:.1f} MB from disk "
        f"({100 * smallest / whole:.1f} %), where that size is {100 * 64 / 4096:.1f} % of the weights.",
        command="python -m benchmarks.core.partial_loading --scratch DIR",
        data="a random 4096 x 4096 head, page cache dropped before each load, 3 loads per size",
    )
    print(json.dumps(values, indent=1))


def _cold_load(path: Path, dims: int) -> int:
    with (path / WEIGHTS).open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path), str(dims)], capture_output=True, text=True, check=True
    )
    found, shape = json.loads(done.stdout)
    assert shape == [dims, 4096]
    return int(found)


if __name__ == "__main__":
    main()
