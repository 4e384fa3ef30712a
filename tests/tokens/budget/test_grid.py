"""Pooled grids against loops over windows."""

import math

import pytest
import torch

from anysize.core.errors import AnysizeError, SizeError
from anysize.tokens.budget.grid import GridPool

SHAPES = [(8, 8), (12, 12), (6, 9)]


def plain(tokens, count, shape, mode):
    rows, columns = shape
    side = math.isqrt(rows * columns // count)
    if mode == "sequential":
        return tokens[:, :count]
    grid = tokens.view(len(tokens), rows, columns, -1)
    kept = []
    for row in range(0, rows, side):
        for column in range(0, columns, side):
            window = grid[:, row : row + side, column : column + side]
            kept.append(window.flatten(1, 2).mean(1) if mode == "avg" else window[:, 0, 0])
    return torch.stack(kept, 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("mode", ["avg", "spatial", "sequential"])
def test_each_count_is_a_loop_over_windows(shape, mode):
    pool = GridPool(mode)
    tokens = torch.randn(2, math.prod(shape), 5, dtype=torch.float64, requires_grad=True)
    every = pool.keep_each(tokens, pool.counts(shape), shape)
    assert list(every) == sorted(pool.counts(shape), reverse=True)
    for count, kept in every.items():
        expected = plain(tokens, count, shape, mode)
        assert kept.shape == (2, count, 5)
        torch.testing.assert_close(kept, expected)
        torch.testing.assert_close(pool.keep(tokens, count, shape), expected)
        pull = torch.randn_like(expected)
        mine, other = (torch.autograd.grad((one * pull).sum(), tokens, retain_graph=True) for one in (kept, expected))
        torch.testing.assert_close(mine, other)


def test_a_coarser_grid_is_a_function_of_a_finer_one():
    pool, tokens = GridPool(), torch.randn(1, 576, 7)
    chain = tokens
    for count, lie in ((144, (24, 24)), (36, (12, 12)), (9, (6, 6)), (1, (3, 3))):
        chain = pool.keep(chain, count, lie)
        torch.testing.assert_close(pool.keep(tokens, count, (24, 24)), chain, atol=1e-6, rtol=0)


def test_the_counts_of_a_grid():
    assert GridPool().counts((24, 24)) == tuple(side**2 for side in (1, 2, 3, 4, 6, 8, 12, 24))
    assert GridPool().counts((6, 9)) == (6, 54)
    for count in (100, 49, 25, 0, 577):
        with pytest.raises(SizeError, match=r"of 24 x 24; expected 1, 4, 9, 16, 36, 64, 144, 576"):
            GridPool().keep(torch.randn(1, 576, 2), count, (24, 24))
    with pytest.raises(AnysizeError, match="avg, spatial or sequential"):
        GridPool("max")  # type: ignore[arg-type]
