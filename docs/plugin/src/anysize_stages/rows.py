"""The vectors to learn from, and every fifth, which is left out to measure on."""

from __future__ import annotations

import numpy as np

import anysize as az


def learnt(data: az.Data) -> np.ndarray:
    """The rows to learn from, (n, width) float32."""
    vectors = vectors_of(data)
    return vectors[np.arange(len(vectors)) % 5 != 4]


def measured(data: az.Data, held_out: bool) -> np.ndarray:
    """All rows, or of data that were learnt from (`held_out`) those that were left out."""
    vectors = vectors_of(data)
    return vectors[4::5] if held_out else vectors


def vectors_of(data: az.Data) -> np.ndarray:
    """Raises `DataError` for data that holds something else, or too little."""
    vectors = data.items().vectors
    if vectors is None or len(vectors) < 10:
        raise az.DataError(f"{data.name} holds no vectors, or fewer than 10; give a .npy file of rows")
    return np.asarray(vectors, np.float32)
