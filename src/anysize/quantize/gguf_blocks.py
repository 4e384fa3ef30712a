"""
Codes as GGUF's block types, without rounding them anew: blocks of 32 (or 256) weights with half-precision scales.

The layouts are those of ggml (``block_q8_0``, ``block_q4_0``, ``block_q4_1``, ``block_q5_0``, ``block_q5_1``,
``block_q2_K``). A type holds w = d q, or w = d q + m; the row's scale is repeated in every block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anysize.core.errors import AnysizeError
from anysize.quantize.levels import Levels

BLOCK, SUPER = 32, 256


@dataclass(frozen=True)
class Blocks:
    """A tensor in a type of GGUF."""

    kind: str
    """Name of the type, as in `gguf.GGMLQuantizationType`."""
    content: np.ndarray
    """uint8 (rows, bytes per row)."""


def as_blocks(found: Levels, name: str) -> Blocks:
    """
    The smallest type that holds these codes as they are.

    Raises `AnysizeError`, saying what would do, if there is none: rows or groups that are no multiples of 32, or more
    than 5 bits with another zero-point than the middle.
    """
    codes = found.codes.numpy()
    rows, features = codes.shape
    groups = found.grid.scale.shape[1]
    if features % BLOCK or (features // groups) % BLOCK:
        raise AnysizeError(
            f"gguf has blocks of {BLOCK}, and {name} has groups of {features // groups} weights; fit with "
            "--group-size 32 or a multiple of it"
        )
    zero = found.zero_point
    centred = zero is not None and bool((zero == 1 << (found.width - 1)).all())
    scale = np.repeat(found.grid.scale.numpy(), features // groups // BLOCK, axis=1)  # (rows, blocks)
    offset = np.repeat(found.grid.offset.numpy(), features // groups // BLOCK, axis=1)
    blocks = codes.reshape(rows, -1, BLOCK)
    if found.width > 5:
        if not centred:
            raise AnysizeError(
                f"gguf has no type of {found.width} bits with a zero-point beside the middle, and {name} needs one; "
                "fit with --symmetric, or cut with --format onnx"
            )
        signed = (blocks - (1 << (found.width - 1))).astype(np.int8)
        return Blocks("Q8_0", _joined(_half(scale), signed.view(np.uint8)))
    if found.width == 2 and features % SUPER == 0 and (features // groups) % SUPER == 0:
        return Blocks("Q2_K", _q2_k(codes, scale[:, ::8], offset[:, ::8]))
    wide = found.width == 5
    if centred:
        blocks = blocks + (1 << (4 if wide else 3)) - (1 << (found.width - 1))  # these types count from their middle
        heads = _half(scale)
    else:
        heads = np.concatenate([_half(scale), _half(offset)], axis=-1)
    low = blocks & 15
    nibbles = (low[..., :16] | low[..., 16:] << 4).astype(np.uint8)
    if not wide:
        return Blocks("Q4_0" if centred else "Q4_1", _joined(heads, nibbles))
    fifth = np.packbits((blocks >> 4 & 1).astype(np.uint8), axis=-1, bitorder="little")
    return Blocks("Q5_0" if centred else "Q5_1", _joined(heads, fifth, nibbles))


def _q2_k(codes: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """W = d q - m with all sixteen inner scales and minima 1; codes (rows, features), the others (rows, supers)."""
    rows = codes.shape[0]
    halves = codes.reshape(rows, -1, 2, 4, 32)  # a byte holds the codes 0, 32, 64 and 96 places on
    packed = sum(halves[:, :, :, place] << (2 * place) for place in range(4))
    inner = np.full((*scale.shape, 16), 0x11, np.uint8)
    return _joined(inner, np.asarray(packed, np.uint8).reshape(rows, -1, 64), _half(scale), _half(-offset))


def _half(values: np.ndarray) -> np.ndarray:
    """(rows, blocks) -> the bytes of each in half precision (rows, blocks, 2)."""
    return np.ascontiguousarray(values.astype("<f2")[..., None]).view(np.uint8)


def _joined(*parts: np.ndarray) -> np.ndarray:
    """The parts of each block (rows, blocks, bytes) one after the other: (rows, bytes)."""
    joined = np.concatenate(parts, axis=-1)
    return np.ascontiguousarray(joined.reshape(joined.shape[0], -1))
