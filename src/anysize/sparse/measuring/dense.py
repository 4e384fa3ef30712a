"""
The dense rivals of sparse codes: vectors of as many coordinates as a code has active latents, as CSR compares, or of as
many bytes, since an active latent also stores which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anysize.core.sizes.nesting import Size

if TYPE_CHECKING:
    from anysize.sparse.autoencoder.model import SparseAutoencoder

DENSE = ("truncate", "pca", "truncate-bytes", "pca-bytes", "original")


@dataclass(frozen=True)
class Dense:
    """
    The vectors that an autoencoder reads, cut to the first coordinates or principal directions, or whole.

    How many are kept is known when the codes of that size are: as many as are active in one on average, or as fill
    its bytes.
    """

    size: Size
    """The size of the codes that they stand beside."""
    name: str


def dense_arm(model: SparseAutoencoder, name: str) -> list[Dense]:
    """One for each trained size; of the untouched vectors one, whose coordinates all count as active."""
    if name != "original":
        return [Dense(size, name) for size in model.nesting]
    full = model.nesting.full
    return [Dense(full.replace(active=model.width) if "active" in full else full, name)]
