"""
Which latents a training step uses: encode rows by rows and keep the few entries that the activation selects.

The product with the encoder is the one dense product of a step. Its result, (n, F), is never held whole: a piece of it
is made, looked through while it is warm, and overwritten by the next. TopK as Gao et al. 2024; BatchTopK
(Bussmann et al. 2024) keeps the ``k n`` largest of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from anysize.core.training.processes import place
from anysize.sparse.autoencoder.entries import Entries

_SLICE = 1 << 22  # pre-activations held at a time where whole rows are needed: 16 MB of float32
_BLOCK = 1 << 20  # and where they are not: 4 MB, which stay in the cache
_LOOK, _MARGIN = 32, 1.6  # rows from which BatchTopK's lower bound is guessed, and how many times k may pass it


@dataclass(frozen=True)
class Selected:
    """What a batch's codes are: where, and how strong."""

    entries: Entries
    values: torch.Tensor
    """(entries,) above zero."""

    def kept(self, places: torch.Tensor) -> Selected:
        """The entries at these places."""
        return Selected(self.entries.kept(places), self.values[places])


@torch.no_grad()
def select_relu(x: torch.Tensor, W_enc: torch.Tensor, b_enc: torch.Tensor, *, bf16: bool = False) -> Selected:
    """Every positive pre-activation. With `bf16` the product is formed in that precision."""
    return _above(_Product(x, W_enc, b_enc, bf16), 0.0)


@torch.no_grad()
def select_above(
    x: torch.Tensor, W_enc: torch.Tensor, b_enc: torch.Tensor, bounds: torch.Tensor, *, bf16: bool = False
) -> Selected:
    """Every positive pre-activation that exceeds its latent's bound; `bounds` is (F,)."""
    return _above(_Product(x, W_enc, b_enc, bf16), bounds.clamp_min(0))


@torch.no_grad()
def select_topk(
    x: torch.Tensor, W_enc: torch.Tensor, b_enc: torch.Tensor, active: int, *, bf16: bool = False
) -> Selected:
    """The positive ones among each row's `active` largest pre-activations."""
    width = W_enc.shape[1]
    if active >= width:
        return select_relu(x, W_enc, b_enc, bf16=bf16)
    parts = []
    for start, pre in _Product(x, W_enc, b_enc, bf16).slices():
        values, latents = row_topk(pre, active)
        latents, order = latents.sort(dim=1)
        values = values.gather(1, order)
        rows, places = (values > 0).nonzero(as_tuple=True)
        parts.append((rows + start, latents[rows, places], values[rows, places]))
    rows, latents, values = (torch.cat(column) for column in zip(*parts, strict=True))
    return Selected(Entries(rows, latents, len(x), width), values)


@torch.no_grad()
def select_batch(
    x: torch.Tensor,
    W_enc: torch.Tensor,
    b_enc: torch.Tensor,
    active: float,
    *,
    bf16: bool = False,
    together: bool = True,
) -> Selected:
    """
    The positive ones among the ``active * n`` largest pre-activations of the batch.

    Most entries lie far below the batch's threshold. A lower bound, read off the first rows, sets them aside before
    anything is sorted; if it proves too high, all positive entries are looked at instead, so the choice is exact.
    Among several processes the batch is that of all of them, unless not `together`.
    """
    keep = round(active * len(x))
    product = _Product(x, W_enc, b_enc, bf16)
    bound = _guess(product, active)
    found = _above(product, bound)
    # Every process asks, whatever its own bound was: they answer together.
    several = together and place()[1] > 1
    if _fewer_than(keep, found.values, several):
        found = _above(product, 0.0)
    return _largest(found, keep, several)


def row_topk(pre: torch.Tensor, active: int) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The `active` largest of each row and their places, unsorted: `torch.topk`, of which of equal values may differ.

    The largest lie in the groups whose maxima are the largest, so two short selections replace the long one.
    """
    n, width = pre.shape
    size = next((size for size in (64, 32, 16, 8) if width % size == 0 and active * size * size <= 2 * width), None)
    if size is None:
        values, places = pre.topk(active, dim=1, sorted=False)
        return values, places
    groups = pre.view(n, width // size, size)
    best = groups.amax(2).topk(active, dim=1, sorted=False).indices  # (n, k) of F / size
    near = groups.gather(1, best[:, :, None].expand(-1, -1, size))  # (n, k, size)
    values, places = near.view(n, -1).topk(active, dim=1, sorted=False)
    return values, best.gather(1, places // size) * size + places % size


class _Product:
    """``x W_enc``, a piece at a time, each in the memory of the one before; `b_enc` is added where it is looked at."""

    def __init__(self, x: torch.Tensor, W_enc: torch.Tensor, b_enc: torch.Tensor, bf16: bool) -> None:
        self.n, self.width, self.b_enc, self.half = len(x), W_enc.shape[1], b_enc, bf16
        self.x, self.W_enc = (x.bfloat16(), W_enc.bfloat16()) if bf16 else (x, W_enc)

    def slices(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Whole rows: where each slice starts, and its pre-activations (m, F)."""
        step = max(1, min(self.n, _SLICE // self.width))
        buffer = self.b_enc.new_empty(step * self.width)
        for start in range(0, self.n, step):
            yield start, self.of(self.x[start : start + step], self.W_enc, buffer).add_(self.b_enc)

    def blocks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """All rows, some latents: where each block starts, and its product (n, c), to which no bias is added."""
        step = max(1, min(self.width, _BLOCK // max(1, self.n)))
        buffer = self.b_enc.new_empty(self.n * step)
        for start in range(0, self.width, step):
            yield start, self.of(self.x, self.W_enc[:, start : start + step], buffer)

    def of(self, rows: torch.Tensor, columns: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
        """The product of some rows with some columns, in `buffer`."""
        shape = (len(rows), columns.shape[1])
        out = buffer[: shape[0] * shape[1]].view(shape)
        return out.copy_(rows @ columns) if self.half else torch.mm(rows, columns, out=out)


def _above(product: _Product, bound: float | torch.Tensor) -> Selected:
    """The entries above one bound, or above one for each latent (F,)."""
    parts = []
    for start, pre in product.blocks():
        here = slice(start, start + pre.shape[1])
        b_enc = product.b_enc[here]
        places = _places(pre > (bound[here] if isinstance(bound, torch.Tensor) else bound) - b_enc)
        rows, columns = places // pre.shape[1], places % pre.shape[1]
        parts.append((rows * product.width + columns + start, pre.view(-1)[places] + b_enc[columns]))
    if len(parts) == 1:
        ((keys, values),) = parts
    else:
        keys, order = torch.cat([part[0] for part in parts]).sort()
        values = torch.cat([part[1] for part in parts])[order]
    return Selected(Entries(keys // product.width, keys % product.width, product.n, product.width), values)


def _places(mask: torch.Tensor) -> torch.Tensor:
    """Where a mask is set, in the flat order. On a processor numpy finds few among many faster than torch."""
    return _numpy_places(mask) if mask.device.type == "cpu" else _torch_places(mask)


def _torch_places(mask: torch.Tensor) -> torch.Tensor:
    return mask.view(-1).nonzero().squeeze(1)


def _numpy_places(mask: torch.Tensor) -> torch.Tensor:
    import numpy as np

    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def _guess(product: _Product, active: float) -> float:
    """A value that somewhat more than `active` entries a row exceed, judged by the first rows; at least 0."""
    few = product.x[:_LOOK]
    rank = int(_MARGIN * active * len(few))
    pre = product.of(few, product.W_enc, product.b_enc.new_empty(len(few) * product.width)).add_(product.b_enc).view(-1)
    if rank >= len(pre):
        return 0.0
    return max(0.0, float(pre.kthvalue(len(pre) - rank).values))


def _fewer_than(keep: int, values: torch.Tensor, several: bool) -> bool:
    """Whether the entries, if `several` those of all processes, are too few."""
    count = torch.tensor([len(values), keep], device=values.device)
    if several:
        torch.distributed.all_reduce(count)
    return bool(count[0] < count[1])


def _largest(found: Selected, keep: int, several: bool) -> Selected:
    """The `keep` largest entries; if `several`, of all processes together."""
    values = found.values
    if not several:
        if len(values) <= keep:
            return found
        places = values.topk(keep, sorted=False).indices.sort().values
        return found.kept(places)
    everyone = _gathered(values)
    total = keep * torch.distributed.get_world_size()
    if len(everyone) <= total:
        return found
    threshold = everyone.kthvalue(len(everyone) - total).values  # the largest that is left out
    places = (values > threshold).nonzero().squeeze(1)
    return found.kept(places)


def _gathered(values: torch.Tensor) -> torch.Tensor:
    """The values of every process, one after the other."""
    world = torch.distributed.get_world_size()
    counts = [torch.zeros(1, dtype=torch.int64, device=values.device) for _ in range(world)]
    torch.distributed.all_gather(counts, torch.tensor([len(values)], device=values.device))
    longest = max(int(count) for count in counts)
    padded = [values.new_zeros(longest) for _ in range(world)]
    mine = values.new_zeros(longest)
    mine[: len(values)] = values
    torch.distributed.all_gather(padded, mine)
    return torch.cat([part[: int(count)] for part, count in zip(padded, counts, strict=True)])
