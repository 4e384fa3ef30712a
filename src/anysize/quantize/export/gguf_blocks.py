"""
Codes as GGUF's block types, without rounding them anew: blocks of 32 (or 256) weights with half-precision scales.

The layouts are those of ggml (``block_q8_0``, ``block_q4_0``, ``block_q4_1``, ``block_q5_0``, ``block_q5_1``,
``block_q2_K``). A type holds w = d q, or w = d q + m; the row's scale is repeated in every block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anysize.core.errors import AnysizeError
from anysize.quantize.layers.grid_codes import GridCodes

BLOCK, SUPER = 32, 256


@dataclass(frozen=True)
class Blocks:
    """A tensor in a type of GGUF."""

    kind: str
    """Name of the type, as in `gguf.GGMLQuantizationType`."""
    content: np.ndarray
    """uint8 (rows, bytes per row)."""


def as_blocks(found: GridCodes, name: str) -> Blocks:
    """
    The smallest type that holds these codes as they are.

    Raises `AnysizeError`, saying what would do, if there is none: rows or groups that are no multiples of 32, or more
    than 5 bits with a fractional zero-point.
    """
    codes = found.codes.numpy()
    rows, features = codes.shape
    groups = found.grid.scale.shape[1]
    if features % BLOCK or (features // groups) % BLOCK:
        raise AnysizeError(
            f"gguf has blocks of {BLOCK}, and {name} has groups of {features // groups} weights; fit with "
            "--group-size 32 or a multiple of it"
        )
    per_group = features // groups // BLOCK
    scale, offset = (np.repeat(part.numpy(), per_group, axis=1) for part in (found.grid.scale, found.grid.offset))
    if found.width == 2 and features % SUPER == 0 and (features // groups) % SUPER == 0:
        return Blocks("Q2_K", _q2_k(codes, scale[:, ::8], offset[:, ::8]))
    zero = found.zero_point
    if zero is not None:
        signed = (codes.reshape(rows, groups, -1) - zero.numpy()[..., None]).astype(np.int32).reshape(rows, -1, BLOCK)
        for kind, half in (("Q4_0", 8), ("Q5_0", 16), ("Q8_0", 128)):
            if signed.min() >= -half and signed.max() < half:
                if kind == "Q8_0":
                    return Blocks(kind, _joined(_half(scale), signed.astype(np.int8).view(np.uint8)))
                return Blocks(kind, _joined(_half(scale), *_nibbles(signed + half, wide=half == 16)))
    blocks = codes.reshape(rows, -1, BLOCK)
    if blocks.max() > 31:
        raise AnysizeError(
            f"gguf has no type of {found.width} bits with fractional zero-points, as {name} has them; fit with "
            "symmetric codes and another slice mode than floor_mid, or cut with --format onnx"
        )
    wide = bool(blocks.max() > 15)
    return Blocks("Q5_1" if wide else "Q4_1", _joined(_half(scale), _half(offset), *_nibbles(blocks, wide=wide)))


def _nibbles(blocks: np.ndarray, *, wide: bool) -> list[np.ndarray]:
    """Codes (rows, blocks, 32) below 16, or 32 if `wide`: their fifth bits, then the places 0-15 beside 16-31."""
    low = blocks & 15
    pairs = (low[..., :16] | low[..., 16:] << 4).astype(np.uint8)
    if not wide:
        return [pairs]
    return [np.packbits((blocks >> 4 & 1).astype(np.uint8), axis=-1, bitorder="little"), pairs]


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
