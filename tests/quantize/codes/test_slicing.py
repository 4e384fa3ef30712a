import math

import numpy as np
import pytest
import torch

from anysize.core.errors import AnysizeError, SizeError
from anysize.quantize.codes.planes import pack, unpack
from anysize.quantize.codes.slicing import MODES, check_bits, planes_needed, slice_bits

CODES = torch.arange(256, dtype=torch.uint8)


def plain(q: int, r: int, c: int, mode: str) -> int:
    """Equations 6 and 8 with Python's fractions, and the middle of what r bits leave open."""
    if r == c:
        return q
    step = 2 ** (c - r)
    if mode == "floor_mid":
        return math.floor(q / step) * step + step // 2
    level = math.floor(q / step + 0.5)
    return (min(level, 2**r - 1) if mode == "round_clamp" else level) * step


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("r", range(1, 9))
def test_every_code_at_every_width(r, mode):
    expected = [plain(q, r, 8, mode) for q in range(256)]
    assert slice_bits(CODES, r, 8, mode).tolist() == expected
    found = slice_bits(np.arange(256, dtype=np.uint8), r, 8, mode)
    assert isinstance(found, np.ndarray)
    assert found.tolist() == expected


@pytest.mark.parametrize("c", [3, 4, 6])
def test_other_parents(c):
    codes = torch.arange(2**c)
    for mode in MODES:
        for r in range(1, c + 1):
            assert slice_bits(codes, r, c, mode).tolist() == [plain(q, r, c, mode) for q in range(2**c)]


def test_the_papers_own_examples():
    assert slice_bits(torch.tensor([53, 234, 240]), 2).tolist() == [64, 192, 192]
    assert slice_bits(torch.tensor([53, 234, 240]), 2, mode="extra").tolist() == [64, 256, 256]
    assert slice_bits(torch.tensor([32, 160]), 2).tolist() == [64, 192]  # half to even would give 0 and 128
    assert slice_bits(torch.tensor([24]), 2).tolist() == [0]
    assert slice_bits(slice_bits(torch.tensor([24]), 4), 2).tolist() == [64]  # rounded twice, hence never so cut


def test_only_floor_mid_nests_exactly():
    for wide in range(1, 9):
        for narrow in range(1, wide + 1):
            through = slice_bits(slice_bits(CODES, wide, mode="floor_mid"), narrow, mode="floor_mid")
            assert torch.equal(through, slice_bits(CODES, narrow, mode="floor_mid"))
    assert not torch.equal(slice_bits(slice_bits(CODES, 4), 2), slice_bits(CODES, 2))


@pytest.mark.parametrize("mode", MODES)
def test_so_many_planes_decide_a_slice_and_no_fewer(mode):
    codes = CODES.reshape(16, 16)
    planes = pack(codes, 8)
    for r in range(1, 9):
        needed = planes_needed(r, 8, mode)
        whole = slice_bits(codes, r, 8, mode)
        assert torch.equal(slice_bits(unpack(planes[:needed], 16, 8), r, 8, mode), whole)
        if needed > 1:
            assert not torch.equal(slice_bits(unpack(planes[: needed - 1], 16, 8), r, 8, mode), whole)


def test_planes_hold_the_highest_bit_first():
    codes = torch.tensor([[128, 0, 0, 0, 0, 0, 0, 1, 255, 64]], dtype=torch.uint8)
    planes = pack(codes, 8)
    assert len(planes) == 8
    assert planes[0].tolist() == [[0b10000000, 0b10000000]]
    assert planes[1].tolist() == [[0, 0b11000000]]
    assert planes[7].tolist() == [[0b00000001, 0b10000000]]
    assert torch.equal(unpack(planes, 10, 8), codes)


def test_refusals():
    with pytest.raises(SizeError, match="expected 1 to 8"):
        slice_bits(CODES, 9)
    with pytest.raises(SizeError, match="expected 1 to 8"):
        slice_bits(CODES, 0)
    with pytest.raises(AnysizeError, match="round_clamp, extra, floor_mid"):
        slice_bits(CODES, 2, mode="truncate")
    with pytest.raises(SizeError, match="4 after 2"):
        check_bits((8, 2, 4), 8)
    with pytest.raises(SizeError, match="expected 1 to 4"):
        check_bits((8, 4), 4)
    with pytest.raises(SizeError, match="no width"):
        check_bits((), 8)
