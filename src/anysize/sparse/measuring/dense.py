"""
The dense rivals of sparse codes: vectors of as many coordinates as a code has active latents, as CSR compares, or of as
many bytes, since an active latent also stores which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anysize.core.sizes.size import Size

if TYPE_CHECKING:
    from anysize.core.data.data import Data
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


def truncate(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """For each size, the first coordinates: as many as its codes have active latents."""
    return [Dense(size, "truncate") for size in model.nesting]


def pca(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """For each size, the first principal directions: as many as its codes have active latents."""
    return [Dense(size, "pca") for size in model.nesting]


def truncate_bytes(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """For each size, the first coordinates: as many as fill the bytes of its codes."""
    return [Dense(size, "truncate-bytes") for size in model.nesting]


def pca_bytes(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """For each size, the first principal directions: as many as fill the bytes of its codes."""
    return [Dense(size, "pca-bytes") for size in model.nesting]


def original(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """The untouched vectors, whose coordinates all count as active."""
    full = model.nesting.full
    return [Dense(full.replace(active=model.width) if "active" in full else full, "original")]
