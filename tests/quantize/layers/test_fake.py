import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from anysize.core.errors import AnysizeError, SizeError
from anysize.quantize import Scheme, convert, prepare, running_at
from anysize.quantize.codes.slicing import MODES
from anysize.quantize.layers.fake import FakeQuantLinear
from anysize.quantize.layers.learnt import Learnt
from anysize.quantize.layers.stored import StoredLinear


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x + self.attention(x))))


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 16)
        self.layers = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(16, 3, bias=False)

    def forward(self, ids):
        x = self.words(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


@pytest.fixture
def tiny():
    torch.manual_seed(1)
    return Tiny()


def plain_weight(weight, r, mode, group):
    """The fake-quantised weight by autograd alone: every rounding is `x + (f(x) - x).detach()`; equations 1 and 6."""

    def through(x, f):
        return x + (f(x) - x).detach()

    parts = weight.reshape(weight.shape[0], -1, group)
    low, high = parts.detach().amin(-1, keepdim=True), parts.detach().amax(-1, keepdim=True)
    alpha = (high - low) / 255
    q = through(parts / alpha - low / alpha, lambda x: torch.floor(x + 0.5))
    step = 2 ** (8 - r)
    if r < 8 and mode == "floor_mid":
        q = through(q, lambda x: torch.floor(x / step) * step + step / 2)
    elif r < 8:
        q = through(q, lambda x: torch.floor(x / step + 0.5) * step)
        if mode == "round_clamp":
            q = through(q, lambda x: x.clamp(max=(2**r - 1) * step))
    return (alpha * q + low).reshape(weight.shape)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("group", [16, 4])
def test_values_and_gradients_are_those_of_plain_autograd(mode, group):
    torch.manual_seed(0)
    linear = nn.Linear(16, 6)
    fake = FakeQuantLinear(copy.deepcopy(linear), Scheme(mode=mode, group_size=group, symmetric=False), 8, "it")
    x, y = torch.randn(7, 16), torch.randn(7, 6)
    for r in range(1, 9):
        weight = linear.weight.detach().double().requires_grad_()
        expected = functional.linear(x.double(), plain_weight(weight, r, mode, group), linear.bias.detach().double())
        (expected * y).sum().backward()
        fake.zero_grad()
        with running_at(r):
            found = fake(x)
        (found * y).sum().backward()
        torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(fake.weight.grad, weight.grad.float(), atol=1e-4, rtol=1e-4)
        assert fake.bias.grad is not None


def test_a_table_trains_as_codes_too(tiny):
    table = tiny.words
    reference = table.weight.detach().clone().double().requires_grad_()
    ids = torch.tensor([[3, 3, 0], [19, 7, 7]])
    prepare(tiny, "embedding", scheme=Scheme(symmetric=False))
    for r in (8, 4, 2):
        expected = functional.embedding(ids, plain_weight(reference, r, "round_clamp", 16))
        reference.grad = tiny.words.weight.grad = None
        expected.square().sum().backward()
        with running_at(r):
            found = tiny.words(ids)
        found.square().sum().backward()
        torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(tiny.words.weight.grad, reference.grad.float(), atol=1e-4, rtol=1e-4)


def test_learnt_clipping_and_transformation_by_plain_autograd():
    torch.manual_seed(0)
    weight, bias, x, y = torch.randn(6, 16), torch.randn(6), torch.randn(7, 16), torch.randn(7, 6)
    learnt = Learnt(6, 16, Scheme(symmetric=False), "it", transform=True)
    with torch.no_grad():
        for part in learnt.parameters():
            part.add_(torch.randn_like(part) * 0.3)
        learnt.high.sub_(3)  # so that some weights lie beyond the grid
    for r in (8, 6, 4, 3, 2):
        high, low, log_s, delta = (part.detach().double().requires_grad_() for part in learnt.parameters())
        s = log_s.exp()
        moved = weight.double() * s
        gamma, beta = torch.sigmoid(high), torch.sigmoid(low)
        top, bottom = moved.amax(1, keepdim=True), moved.amin(1, keepdim=True)
        alpha = (gamma * top - beta * bottom) / 255
        u = (moved / alpha - beta * bottom / alpha).clamp(0, 255)
        step = 2 ** (8 - r)
        code = torch.floor(torch.floor(u + 0.5) / step + 0.5).clamp(max=2**r - 1 if r < 8 else 255) * step
        shown = alpha * (u + (code - u).detach()) + beta * bottom
        expected = ((x.double() - delta) / s) @ shown.T + bias.double() + weight.double() @ delta
        (expected * y).sum().backward()
        learnt.zero_grad()
        found = functional.linear(x, *learnt.parts(weight, bias, r))
        (found * y).sum().backward()
        torch.testing.assert_close(found, expected.float(), atol=1e-3, rtol=1e-3)
        for mine, theirs in zip(learnt.parameters(), (high, low, log_s, delta), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad.float(), atol=5e-3, rtol=5e-3)
            assert mine.grad.abs().sum() > 0  # narrow widths reach everything that is learnt


@pytest.mark.parametrize("layout", ["planes", "uint8"])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_converted_gives_the_same_to_the_bit(tiny, mode, layout):
    ids = torch.arange(20)
    prepare(tiny, "linear,embedding,head", scheme=Scheme(mode=mode, group_size=8, symmetric=False))
    before = {}
    for r in range(1, 9):
        with running_at(r):
            before[r] = tiny(ids).detach()
    convert(tiny, layout=layout)
    assert isinstance(tiny.layers[0].up, StoredLinear)
    for r in range(1, 9):
        with running_at(r), torch.no_grad():
            assert torch.equal(tiny(ids), before[r])
    assert not torch.equal(before[2], before[8])
    with torch.no_grad():
        assert torch.equal(tiny(ids), before[8])  # outside running_at: the widest


def test_learnt_parts_are_folded_in_when_converted(tiny):
    prepare(tiny, "ffn")
    for layer in tiny.layers:
        for part in (layer.up, layer.down):
            part.learnt = Learnt(part.out_features, part.in_features, part.scheme, part.name, transform=True)
            for tensor in part.learnt.parameters():
                tensor.data.add_(torch.randn_like(tensor) * 0.2)
    ids = torch.arange(20)
    before = {}
    for r in (8, 4, 2):
        with running_at(r), torch.no_grad():
            before[r] = tiny(ids)
    convert(tiny)
    for r in (8, 4, 2):
        with running_at(r), torch.no_grad():
            torch.testing.assert_close(tiny(ids), before[r], atol=1e-5, rtol=1e-5)


def test_widths_may_differ_by_layer_and_an_optimiser_step_is_seen(tiny):
    prepare(tiny, "ffn")
    up = tiny.layers[0].up
    x = torch.randn(2, 16)
    with running_at({"layers.0.up": 2}):
        mixed, other = up(x), tiny.layers[1].up(x)
    with running_at(2):
        assert torch.equal(mixed, up(x))
    with running_at(8):
        assert torch.equal(other, tiny.layers[1].up(x))
        before = up(x)
        with torch.no_grad():
            up.weight.mul_(2)
        torch.testing.assert_close(up(x) - up.bias, 2 * (before - up.bias), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("ffn", {"layers.0.up", "layers.0.down", "layers.1.up", "layers.1.down"}),
        ("attention", {"layers.0.attention", "layers.1.attention"}),
        ("embedding,head", {"words", "head"}),
        ("layers.1.*", {"layers.1.attention", "layers.1.up", "layers.1.down"}),
    ],
)
def test_patterns(tiny, pattern, expected):
    prepare(tiny, pattern)
    assert {name for name, part in tiny.named_modules() if hasattr(part, "scheme")} == expected


def test_what_cannot_be_prepared_is_refused_and_left_alone(tiny):
    with pytest.raises(AnysizeError, match=r"'mlp\.\*'; write ffn, .*words, layers\.\*\.attention, layers\.\*\.up"):
        prepare(tiny, "mlp.*")
    with pytest.raises(SizeError, match="4 after 2"):
        prepare(tiny, bits=(8, 2, 4))
    with pytest.raises(AnysizeError, match="prepare first"):
        convert(tiny)
    tiny.layers[1].up.weight.data[0, 0] = float("nan")
    with pytest.raises(AnysizeError, match=r"layers\.1\.up holds NaN"):
        prepare(tiny)
    assert isinstance(tiny.layers[0].up, nn.Linear)
    tiny.layers[1].up.weight.data[0, 0] = 0.0
    tiny.head.weight = tiny.words.weight
    with pytest.raises(AnysizeError, match="words shares its weight"):
        prepare(tiny, "embedding")
    prepare(tiny)
    with pytest.raises(AnysizeError, match=r"layers\.0\.up is quantised already"):
        prepare(tiny, "attention")
    convert(tiny)
    with pytest.raises(AnysizeError, match="quantised already"):
        prepare(tiny, "attention")


def test_a_model_of_another_library_is_refused(tiny):
    tiny.layers[0].up.weight = nn.Parameter(torch.zeros(32, 16, dtype=torch.int8), requires_grad=False)
    with pytest.raises(AnysizeError, match=r"layers\.0\.up is Parameter of torch\.int8"):
        prepare(tiny)
