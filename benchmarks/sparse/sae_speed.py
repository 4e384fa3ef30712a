"""
Time and memory of one training step of a Matryoshka SAE, against SAELens, dictionary_learning and the bare product.

    python -m benchmarks.sparse.sae_speed --sae-lens PYTHON --dictionary-learning PYTHON [--rounds 7]

PYTHON is an interpreter that has the peer installed (``pip install sae-lens``, ``pip install dictionary-learning``).
384 inputs, 16,384 latents, 32 active, 5 prefixes, batches of 2,048 rows, no dead latents, one thread. Each arm is a
process of its own; the arms take turns within each round, and processor time is counted, which other programs on the
machine disturb little.
"""

from __future__ import annotations

import importlib.metadata
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.sparse.sae_speed_worker import DICTIONARY, OURS, PREFIXES, PRODUCT, ROWS, SAELENS

PAPER = "Bussmann et al. 2025, Learning Multi-Level Features with Matryoshka Sparse Autoencoders, arXiv 2503.17547"
WARM = 2


class Arm:
    """A worker that takes a step when asked."""

    def __init__(self, name: str, python: str) -> None:
        worker = Path(__file__).with_name("sae_speed_worker.py")
        self.process = subprocess.Popen(
            [python, str(worker), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.seconds: list[float] = []
        self.memory = 0

    def step(self) -> None:
        """One step, noted down."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, memory = self.process.stdout.readline().split()
        self.seconds.append(float(seconds))
        self.memory = int(memory)

    def close(self) -> None:
        """End the worker."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    """Time all arms in turn, write the row."""
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--sae-lens", required=True, help="interpreter that has sae-lens")
    parser.add_argument("--dictionary-learning", required=True, help="interpreter that has dictionary-learning")
    options = parser.parse_args()
    pythons = {
        PRODUCT: sys.executable,
        OURS: sys.executable,
        SAELENS: options.sae_lens,
        DICTIONARY: options.dictionary_learning,
    }
    versions = {name: version(python, name) for name, python in pythons.items() if name in (SAELENS, DICTIONARY)}
    arms = {name: Arm(name, python) for name, python in pythons.items()}
    for turn in range(WARM + options.rounds):
        for arm in arms.values():
            arm.step()
        print(turn, {name: round(arm.seconds[-1], 3) for name, arm in arms.items()}, flush=True)
    for arm in arms.values():
        arm.close()
    seconds = {name: arm.seconds[WARM:] for name, arm in arms.items()}
    in_products = {
        name: [one / base for one, base in zip(taken, seconds[PRODUCT], strict=True)] for name, taken in seconds.items()
    }
    middle = {name: statistics.median(ratios) for name, ratios in in_products.items()}
    lens, learning = (statistics.median(seconds[OURS]) / statistics.median(seconds[name]) for name in versions)
    memory = {name: round(arm.memory / 2**20) for name, arm in arms.items()}
    write_row(
        "matryoshka-sae-speed",
        paper=PAPER,
        claim="A training step costs little more than the encoder's forward product, a fraction of what peers take",
        reported="training about 1.5 times as long as a plain SAE (third parties); SAELens calls it slower still",
        arms=list(arms),
        metric="processor time of one training step on one thread, in encoder products; peak memory",
        values={
            "encoder products, median": {name: round(value, 2) for name, value in middle.items()},
            "encoder products, least": {name: round(min(ratios), 2) for name, ratios in in_products.items()},
            "encoder products, most": {name: round(max(ratios), 2) for name, ratios in in_products.items()},
            "ms, median": {name: round(1e3 * statistics.median(taken)) for name, taken in seconds.items()},
            "rows per second of one thread": {
                name: round(ROWS / statistics.median(taken)) for name, taken in seconds.items()
            },
            "growth of peak memory in training, MiB": memory,
            "ours / sae_lens": round(lens, 3),
            "ours / dictionary_learning": round(learning, 3),
        },
        outcome="won" if middle[OURS] <= 1.5 and lens < 1 and learning < 1 else "mixed",
        note=f"A step takes {middle[OURS]:.2f} encoder products, {lens:.3f} of SAELens' time ({middle[SAELENS]:.1f} "
        f"products) and {learning:.3f} of dictionary_learning's ({middle[DICTIONARY]:.1f}). Peak memory grows by "
        f"{memory[OURS]} MiB, beside {memory[SAELENS]} and {memory[DICTIONARY]}. Each step is whole: losses of all "
        "five prefixes, gradients, clipping and Adam; ours and dictionary_learning's also project and renormalise the "
        "decoder. No latent is dead, which spares all arms the auxiliary loss. The goal was 1.5 products.",
        command="python -m benchmarks.sparse.sae_speed --sae-lens PYTHON --dictionary-learning PYTHON",
        data=f"random rows, 384 wide, batches of {ROWS}; {PREFIXES[-1]} latents, 32 active, prefixes "
        f"{', '.join(map(str, PREFIXES))}; sae-lens {versions[SAELENS]}, dictionary-learning {versions[DICTIONARY]}",
    )


def version(python: str, package: str) -> str:
    """Of a package, as another interpreter has it."""
    code = f"import importlib.metadata; print(importlib.metadata.version({package.replace('_', '-')!r}))"
    if python == sys.executable:
        return importlib.metadata.version(package)
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
