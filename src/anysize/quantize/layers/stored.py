"""Layers as they are saved: codes in bit planes, scales and offsets; they run by giving back floats, at any width."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from anysize.core.errors import SizeError
from anysize.quantize.codes.planes import pack, unpack
from anysize.quantize.codes.running import width_of
from anysize.quantize.codes.scales import Grid, decode
from anysize.quantize.codes.scheme import Scheme
from anysize.quantize.codes.slicing import planes_needed, slice_bits


class Stored(nn.Module):
    """
    The codes of a weight (rows, features), in buffers ``plane_0`` (highest bit) onwards, or whole in ``codes``.

    `widest` is the widest slice that the planes here give. Parts that a layer has not are None.
    """

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, rows: int, features: int, scheme: Scheme, widest: int, name: str, layout: str) -> None:
        super().__init__()
        self.rows, self.features, self.scheme = rows, features, scheme
        self.widest, self.name, self.layout = widest, name, layout
        self.count = planes_needed(widest, scheme.parent_bits, scheme.mode)
        groups = scheme.groups(features, name)
        if layout == "planes":
            for place in range(self.count):
                self.register_buffer(f"plane_{place}", torch.zeros(rows, -(-features // 8), dtype=torch.uint8))
        else:
            self.register_buffer("codes", torch.zeros(rows, features, dtype=torch.uint8))
        self.register_buffer("scale", torch.zeros(rows, groups))
        self.register_buffer("offset", torch.zeros(rows, groups))
        self.keep = True
        """Whether the floats of the width that ran last are kept for the next run."""
        self._kept: tuple[Any, torch.Tensor] | None = None

    def fill(self, grid: Grid, codes: torch.Tensor) -> None:
        """Take these codes (rows, features) and their grid."""
        if self.layout == "planes":
            for place, plane in enumerate(pack(codes, self.scheme.parent_bits)[: self.count]):
                setattr(self, f"plane_{place}", plane)
        else:
            self.codes = codes.to(torch.uint8)
        self.scale, self.offset = grid.scale.float(), grid.offset.float()

    def narrow(self, bits: int) -> None:
        """Have room for the planes of this width alone, before they are loaded."""
        self.widest = bits
        needed = planes_needed(bits, self.scheme.parent_bits, self.scheme.mode)
        for place in range(needed, self.count if self.layout == "planes" else 0):
            delattr(self, f"plane_{place}")
        self.count = needed

    def sliced(self, bits: int, rows: torch.Tensor | None = None) -> torch.Tensor:
        """The codes at a width, int32 (rows, features), of all rows or of some. Raises `SizeError` if too wide."""
        if bits > self.widest:
            raise SizeError(f"{self.name} was loaded at bits={self.widest}; load the model anew to run it at {bits}")
        c, mode = self.scheme.parent_bits, self.scheme.mode
        if self.layout == "uint8":
            return slice_bits(self.codes if rows is None else self.codes[rows], bits, c, mode)
        planes = [getattr(self, f"plane_{place}") for place in range(planes_needed(bits, c, mode))]
        chosen = planes if rows is None else [plane[rows] for plane in planes]
        return slice_bits(unpack(chosen, self.features, c), bits, c, mode)

    def floats(self, bits: int) -> torch.Tensor:
        """The weight (rows, features) that a width stands for."""
        return decode(self.sliced(bits), Grid(self.scale, self.offset), self.scheme)

    def kept_floats(self, bits: int) -> torch.Tensor:
        """`floats`, which are computed anew only if the width or the codes changed."""
        parts = list(self.buffers(recurse=False))
        key = (bits, tuple((part.data_ptr(), part._version) for part in parts))
        if self._kept is None or self._kept[0] != key:
            found = (key, self.floats(bits))
            if not self.keep:
                return found[1]
            self._kept = found
            return found[1]
        return self._kept[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        from anysize.quantize.layers.fake import _bare_copy

        twin = _bare_copy(self, memo, skip="_kept")
        twin._kept = None
        return twin

    def extra_repr(self) -> str:
        """Shape and scheme, for printing."""
        return f"{self.rows}, {self.features}, widest={self.widest}, layout={self.layout}, {self.scheme}"


class StoredLinear(Stored):
    """A linear layer of codes. `transformed` layers have OmniQuant's scale and shift of their inputs folded in."""

    bias: torch.Tensor | None
    column_scale: torch.Tensor | None
    shift: torch.Tensor | None

    def __init__(
        self,
        rows: int,
        features: int,
        scheme: Scheme,
        widest: int,
        name: str,
        layout: str,
        *,
        bias: bool,
        transformed: bool,
    ) -> None:
        super().__init__(rows, features, scheme, widest, name, layout)
        self.in_features, self.out_features, self.transformed = features, rows, transformed
        self.register_buffer("bias", torch.zeros(rows) if bias or transformed else None)
        self.register_buffer("column_scale", torch.ones(features) if transformed else None)
        self.register_buffer("shift", torch.zeros(features) if transformed else None)

    def floats(self, bits: int) -> torch.Tensor:
        """The weight (out, in) that a width stands for."""
        found = super().floats(bits)
        return found if self.column_scale is None else found / self.column_scale

    def parts(self, bits: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias at a width: what an ordinary linear layer needs."""
        weight = self.kept_floats(bits)
        if self.shift is None or self.bias is None:
            return weight, self.bias
        return weight, self.bias - weight @ self.shift

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        weight, bias = self.parts(width_of(self.name, self.widest))
        return functional.linear(inputs, weight.to(inputs.dtype), None if bias is None else bias.to(inputs.dtype))


class StoredEmbedding(Stored):
    """A table of codes; only the rows that are asked for become floats."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(...) -> (..., features)."""
        flat, place = torch.unique(ids.reshape(-1), return_inverse=True)
        grid = Grid(self.scale[flat], self.offset[flat])
        rows = decode(self.sliced(width_of(self.name, self.widest), flat), grid, self.scheme)
        return rows[place].reshape(*ids.shape, self.features)
