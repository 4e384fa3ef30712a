import pytest
import torch

from anysize.core.errors import AnysizeError, CheckpointError, SizeError
from anysize.quantize.codes.scales import Clip, decode, encode, fit_grid
from anysize.quantize.codes.scheme import Scheme
from anysize.quantize.codes.slicing import MODES, slice_bits

torch.manual_seed(0)
WEIGHT = torch.randn(5, 24)


def at(weight, scheme, r):
    grid = fit_grid(weight, scheme)
    return decode(slice_bits(encode(weight, grid, scheme), r, scheme.parent_bits, scheme.mode), grid, scheme)


def plain(row: list[float], r: int, c: int, mode: str, symmetric: bool) -> list[float]:
    """Equation 1 for one group in double precision, written with alpha and z as the paper does."""
    if symmetric:
        alpha, z = max(map(abs, row)) / ((2**c - 1) / 2), 2 ** (c - 1)
    else:
        alpha = (max(row) - min(row)) / (2**c - 1)
        z = -min(row) / alpha
    codes = [min(max(int((w / alpha + z + 0.5) // 1), 0), 2**c - 1) for w in row]
    return [alpha * (int(slice_bits(torch.tensor(q), r, c, mode)) - z) for q in codes]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("group_size", [None, 8])
def test_equation_1_at_every_width(mode, symmetric, group_size):
    scheme = Scheme(mode=mode, symmetric=symmetric, group_size=group_size)
    for r in range(1, 9):
        parts = WEIGHT.double().reshape(-1, group_size or 24)
        expected = torch.tensor([plain(row.tolist(), r, 8, mode, symmetric) for row in parts]).reshape(5, 24)
        # A negative weight that is the largest of its group lies half way between two symmetric codes.
        clear = ~((parts == -parts.abs().amax(1, keepdim=True)) & symmetric).reshape(5, 24)
        torch.testing.assert_close(at(WEIGHT, scheme, r)[clear], expected.float()[clear], atol=1e-5, rtol=1e-5)


def test_eight_bits_are_within_half_a_step():
    scheme = Scheme(symmetric=False)
    step = fit_grid(WEIGHT, scheme).scale
    assert ((at(WEIGHT, scheme, 8) - WEIGHT).abs() <= step / 2 + 1e-6).all()


def test_a_symmetric_zero_point_is_whole_at_every_width_and_zero_stays_zero():
    weight = WEIGHT.clone()
    weight[:, 3] = 0
    scheme = Scheme(symmetric=True)
    assert (fit_grid(weight, scheme).zero_point == 128).all()
    for r in range(1, 9):
        assert (128 % 2 ** (8 - r)) == 0
        assert (at(weight, scheme, r)[:, 3] == 0).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_symmetric_scales_are_those_of_compressed_tensors(bits):
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.utils import calculate_qparams

    args = QuantizationArgs(num_bits=bits, symmetric=True, strategy="channel")
    wanted, _ = calculate_qparams(WEIGHT.amin(1, keepdim=True), WEIGHT.amax(1, keepdim=True), args)
    torch.testing.assert_close(fit_grid(WEIGHT, Scheme(bits, symmetric=True)).scale, wanted)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_rows_of_one_value_are_exact_at_every_width(mode, symmetric):
    weight = WEIGHT.clone()
    weight[1], weight[2] = 0.0, -0.3
    for r in range(1, 9):
        found = at(weight, Scheme(mode=mode, symmetric=symmetric), r)
        assert torch.equal(found[1], weight[1])
        assert torch.equal(found[2], weight[2])


def test_clipping_narrows_the_grid_and_learns():
    high = torch.full((5, 1), 0.5, requires_grad=True)
    low = torch.full((5, 1), 0.25, requires_grad=True)
    grid = fit_grid(WEIGHT, Scheme(symmetric=False), clip=Clip(high, low))
    top, bottom = WEIGHT.amax(1, keepdim=True), WEIGHT.amin(1, keepdim=True)
    torch.testing.assert_close(grid.scale, (0.5 * top - 0.25 * bottom) / 255)
    torch.testing.assert_close(grid.zero_point, -0.25 * bottom / grid.scale)
    grid.scale.sum().backward()
    torch.testing.assert_close(high.grad, top / 255)
    torch.testing.assert_close(low.grad, -bottom / 255)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_unsound_weights_are_named(bad):
    weight = WEIGHT.clone()
    weight[2, 3] = bad
    with pytest.raises(AnysizeError, match=r"layer\.0\.dense holds NaN"):
        fit_grid(weight, Scheme(symmetric=False), "layer.0.dense")


def test_schemes_that_describe_no_code():
    with pytest.raises(AnysizeError, match="no multiple of group-size 7"):
        fit_grid(WEIGHT, Scheme(group_size=7, symmetric=False))
    with pytest.raises(SizeError, match="1 to 8 bits; got 9"):
        Scheme(parent_bits=9, symmetric=False)
    with pytest.raises(SizeError, match="2 to 8 bits; got 1"):
        Scheme(parent_bits=1, symmetric=True)
    with pytest.raises(CheckpointError, match="does not record its slice mode"):
        Scheme.from_json({"parent_bits": 8})
    with pytest.raises(CheckpointError, match="slice mode 'floor'"):
        Scheme.from_json({"parent_bits": 8, "mode": "floor"})
    assert Scheme.from_json(Scheme(mode="extra", group_size=4, symmetric=False).to_json()) == Scheme(
        mode="extra", group_size=4, symmetric=False
    )
