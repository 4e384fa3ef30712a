"""Rates of frames against loops over items and windows."""

import pytest
import torch

from anysize.core.errors import AnysizeError, SizeError
from anysize.tokens.budget.frames import FrameRate


def plain(item, rate, mode, remainder):
    """Tokens of one item (frames, width) alone."""
    tokens = []
    for start in range(0, len(item), rate):
        window = item[start : start + rate]
        if len(window) < rate and remainder == "drop":
            break
        if mode == "pool":
            tokens.append(sum(window) / len(window))
        else:
            filled = list(window) + [torch.zeros(item.shape[1], dtype=item.dtype)] * (rate - len(window))
            tokens.append(torch.cat(filled))
    return torch.stack(tokens)


@pytest.mark.parametrize("remainder", ["drop", "keep"])
@pytest.mark.parametrize("mode", ["pool", "stack"])
def test_an_item_gives_in_a_batch_what_it_gives_alone(mode, remainder):
    reduce, lengths = FrameRate(mode, remainder), [11, 7, 4]
    values = torch.randn(3, 13, 2, dtype=torch.float64)  # what lies beyond the lengths is no frame
    values.requires_grad_()
    for rate in (1, 2, 3, 4):
        kept = reduce.keep(values, rate, torch.tensor(lengths))
        assert kept.lengths.tolist() == [reduce.count(length, rate) for length in lengths]
        expected = [plain(values[row, :length], rate, mode, remainder) for row, length in enumerate(lengths)]
        pull = torch.randn(kept.values.shape, dtype=torch.float64)
        total = torch.zeros((), dtype=torch.float64)
        for row, wanted in enumerate(expected):
            torch.testing.assert_close(kept.values[row, : len(wanted)], wanted)
            assert not kept.values[row, len(wanted) :].any()
            total = total + (wanted * pull[row, : len(wanted)]).sum()
        mine, other = (
            torch.autograd.grad(one, values, retain_graph=True) for one in ((kept.values * pull).sum(), total)
        )
        torch.testing.assert_close(mine, other)


def test_without_lengths_every_frame_counts():
    values = torch.arange(10.0).view(1, 10, 1)
    assert FrameRate("pool", "drop").keep(values, 4).values.flatten().tolist() == [1.5, 5.5]
    assert FrameRate("pool", "keep").keep(values, 4).values.flatten().tolist() == [1.5, 5.5, 8.5]


def test_what_leaves_nothing_is_refused():
    with pytest.raises(SizeError, match="rate 16 leaves no token of 10 frames"):
        FrameRate("pool", "drop").keep(torch.zeros(1, 10, 2), 16)
    with pytest.raises(SizeError, match="got 0"):
        FrameRate().keep(torch.zeros(1, 10, 2), 0)
    with pytest.raises(AnysizeError, match="pool or stack"):
        FrameRate("max")  # type: ignore[arg-type]
    with pytest.raises(AnysizeError, match="drop, keep"):
        FrameRate("pool", "ceil")  # type: ignore[arg-type]
