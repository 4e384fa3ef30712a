"""What SAELens makes of a directory: a program of its own, since SAELens takes long to import and warns meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from sae_lens import SAE


def main(directory: str, inputs: str, answer: str) -> None:
    """Codes and reconstructions of the rows in the file `inputs`, to the file `answer`."""
    sae = SAE.load_from_disk(Path(directory), device="cpu")
    with torch.no_grad():
        codes = sae.encode(torch.from_numpy(np.load(inputs)))
        np.savez(answer, codes=codes.numpy(), rebuilt=sae.decode(codes).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
