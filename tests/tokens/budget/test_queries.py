"""The query transformer against a plain implementation, and what makes its prefixes nested."""

import math

import pytest
import torch

from anysize.core.errors import AnysizeError, SizeError
from anysize.tokens.budget.operator import Prefix
from anysize.tokens.budget.queries import MatryoshkaQueryTransformer, resized, sincos

SOURCES = ["content+position", "position"]


def made(source, queries=16, shape=(6, 6)):
    torch.manual_seed(0)
    module = MatryoshkaQueryTransformer(queries, 32, 24, shape, heads=4, key_source=source)
    with torch.no_grad():
        for norm in (module.ln_q, module.ln_k, module.ln_v):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        module.attn.in_proj_bias.uniform_(-0.5, 0.5)
        module.query.uniform_(-1, 1)
    return module


def norm(x, layer):
    spread = ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(spread + 1e-6) * layer.weight + layer.bias


def plain(module, patches, count):
    """One query and one head at a time."""
    width, heads = 32, 4
    each = width // heads
    where = resized(module.positions, module.shape)
    w_q, w_k, w_v = module.attn.in_proj_weight.split(width)
    b_q, b_k, b_v = module.attn.in_proj_bias.split(width)
    pictures = []
    for picture in patches:
        keys = norm(where, module.ln_k) if module.key_source == "position" else norm(picture, module.ln_k) + where
        values = norm(picture, module.ln_v) @ w_v.T + b_v
        keys = keys @ w_k.T + b_k
        tokens = []
        for place in range(count):
            query = norm(module.query[place] + module.positions[place], module.ln_q) @ w_q.T + b_q
            parts = []
            for head in range(heads):
                part = slice(head * each, (head + 1) * each)
                scores = keys[:, part] @ query[part] / math.sqrt(each)
                parts.append(
                    torch.exp(scores - scores.max()) / torch.exp(scores - scores.max()).sum() @ values[:, part]
                )
            tokens.append((torch.cat(parts) @ module.attn.out_proj.weight.T + module.attn.out_proj.bias) @ module.proj)
        pictures.append(torch.stack(tokens))
    return torch.stack(pictures)


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_the_plain_attention_forward_and_backward(source):
    module, patches = made(source), torch.randn(2, 36, 32, generator=torch.Generator().manual_seed(1))
    patches.requires_grad_()
    for count in (1, 5, 16):
        given, expected = module(patches, count), plain(module, patches, count)
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-5)
        pull = torch.randn(given.shape, generator=torch.Generator().manual_seed(count))
        wanted = [patches, module.query, module.proj, module.ln_k.weight, module.attn.in_proj_weight]
        for mine, other in zip(
            torch.autograd.grad((given * pull).sum(), wanted),
            torch.autograd.grad((expected * pull).sum(), wanted),
            strict=True,
        ):
            torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("source", SOURCES)
def test_a_prefix_is_the_smaller_transformer(source):
    module, patches = made(source), torch.randn(3, 36, 32)
    whole = module(patches)
    for count in range(1, 17):
        torch.testing.assert_close(module(patches, count), whole[:, :count], atol=1e-6, rtol=0)
        assert torch.equal(Prefix().keep(whole, count, (16,)), whole[:, :count])


def test_positions_are_sines_and_cosines_of_column_and_row():
    table = sincos(8, 3)
    for row in range(3):
        for column in range(3):
            angles = [column, column / 100, row, row / 100]
            expected = [math.sin(angles[0]), math.sin(angles[1]), math.cos(angles[0]), math.cos(angles[1])]
            expected += [math.sin(angles[2]), math.sin(angles[3]), math.cos(angles[2]), math.cos(angles[3])]
            torch.testing.assert_close(table[row * 3 + column], torch.tensor(expected), atol=1e-3, rtol=0)
    assert resized(table, (3, 3)) is table
    assert resized(table, (5, 4)).shape == (20, 8)


def test_a_number_of_queries_need_not_be_a_square():
    module = made("position", queries=10)
    assert module(torch.randn(1, 36, 32)).shape == (1, 10, 24)


def test_what_cannot_be_is_refused():
    module = made("position")
    for count in (0, 17):
        with pytest.raises(SizeError, match=r"any whole number from 1 to 16"):
            module(torch.randn(1, 36, 32), count)
        with pytest.raises(SizeError, match=r"any whole number from 1 to 16"):
            Prefix().keep(torch.randn(1, 16, 4), count, (16,))
    with pytest.raises(SizeError, match=r"35 patches are no grid of 6 x 6"):
        module(torch.randn(1, 35, 32))
    with pytest.raises(AnysizeError, match="change heads"):
        MatryoshkaQueryTransformer(4, 30, 8, (2, 2), heads=4)
    with pytest.raises(AnysizeError, match="content"):
        MatryoshkaQueryTransformer(4, 32, 8, (2, 2), heads=4, key_source="content")  # type: ignore[arg-type]
