from __future__ import annotations

import pytest
import torch

from anysize.core.errors import AnysizeError
from anysize.vision import CyclicMaskGenerator, drawn_masks


@pytest.mark.parametrize("roll", [True, False], ids=["cyclic", "block"])
@pytest.mark.parametrize("grid", [(8, 8), (5, 9), (1, 7)], ids=["square", "wide", "row"])
def test_every_mask_hides_exactly_so_many_patches_around_one_block(grid, roll):
    maker, draw = CyclicMaskGenerator(grid, roll=roll), torch.Generator().manual_seed(0)
    cells = grid[0] * grid[1]
    for number in range(cells + 1):
        mask = maker(number, draw)
        assert tuple(mask.shape) == grid
        assert int(mask.sum()) == number
        if not roll and number < cells:
            visible = (~mask).nonzero()
            (top, left), (bottom, right) = visible.amin(0).tolist(), visible.amax(0).tolist()
            box = ~mask[top : bottom + 1, left : right + 1].flatten()
            full = (bottom - top) * (right - left + 1)  # all rows of the block but the last are whole
            assert box[:full].all()
            assert int(box.sum()) == cells - number
    with pytest.raises(AnysizeError, match="cannot be masked"):
        maker(cells + 1)


def test_rolled_masks_show_every_patch_alike_and_blocks_do_not():
    draw, count = torch.Generator().manual_seed(0), 3000
    shares = {}
    for roll in (True, False):
        maker = CyclicMaskGenerator(6, roll=roll)
        shares[roll] = torch.stack([~maker(22, draw) for _ in range(count)]).float().mean(0)
    noise = (14 / 36 * 22 / 36 / count) ** 0.5
    assert float((shares[True] - 14 / 36).abs().max()) < 4 * noise
    assert float(shares[False][2:4, 2:4].mean()) > 3 * float(shares[False][0, 0])


def test_a_batch_is_masked_in_half_at_ratios_of_every_stratum():
    draw = torch.Generator().manual_seed(0)
    masks = drawn_masks(CyclicMaskGenerator(10), 40, (0.1, 0.5), 0.5, draw)
    share = masks.float().mean(1)
    assert tuple(masks.shape) == (40, 100)
    assert int((share > 0).sum()) == 20
    found = sorted(share[share > 0].tolist())
    for place, one in enumerate(found):  # one of each of twenty even parts from .1 to .5
        assert 0.1 + 0.02 * place - 0.01 - 1e-6 <= one <= 0.1 + 0.02 * (place + 1) + 1e-6
    again = drawn_masks(CyclicMaskGenerator(10), 40, (0.1, 0.5), 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(masks, again)
    with pytest.raises(AnysizeError, match="ratios are from 0 to 1"):
        drawn_masks(CyclicMaskGenerator(4), 4, (0.5, 0.1))
