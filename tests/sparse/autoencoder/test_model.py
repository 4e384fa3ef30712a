from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anysize
from anysize.core.model.manifest import bytes_read
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.sparse import SparseAutoencoder
from anysize.testing import check_nested_model

WIDTH, LATENTS = 6, 16
PREFIXES = Nesting(latents=(4, 8, 16))
RANKS = Nesting(active=(1, 3, 16))
CASES = [
    (PREFIXES, {"activation": "relu"}),
    (PREFIXES, {"activation": "jumprelu"}),
    (PREFIXES, {"activation": "batchtopk", "active": 5}),
    (PREFIXES, {"activation": "topk", "active": 5}),
    (RANKS, {"activation": "topk", "latents": LATENTS}),
    (Nesting(latents=(4, 16), active=(2, 5)), {"activation": "topk"}),
]


def filled(nesting: Nesting, *, seed: int = 0, **options: Any) -> SparseAutoencoder:
    """An autoencoder of width 6 whose every tensor is random."""
    sae = SparseAutoencoder(nesting, WIDTH, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (sae.W_enc, sae.W_dec, sae.b_enc, sae.b_dec, sae.mean):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
        sae.scale.fill_(1.7)
        if options.get("activation") in ("batchtopk", "jumprelu"):
            sae.threshold.copy_(torch.rand(sae.threshold.shape, generator=generator) * 0.3)
    return sae.eval()


def rows(count: int = 40, width: int = WIDTH, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def plain_codes(sae: SparseAutoencoder, x: torch.Tensor, size: Size) -> torch.Tensor:
    """The definition, dense and in double precision."""
    latents = size.get("latents", LATENTS)
    inputs = (x.double() - sae.mean.double()) * sae.scale.double()
    pre = (inputs - sae.b_dec.double()) @ sae.W_enc[:, :latents].double() + sae.b_enc[:latents].double()
    if sae.activation == "topk":
        active = min(size.get("active", sae.active), latents)
        kept = torch.zeros_like(pre).scatter(1, pre.topk(active).indices, 1.0)
        return (pre * kept).clamp_min(0)
    return pre.clamp_min(0) * (pre > sae.threshold[:latents])


def plain(sae: SparseAutoencoder, x: torch.Tensor, size: Size) -> torch.Tensor:
    codes = plain_codes(sae, x, size)
    found = codes @ sae.W_dec[: codes.shape[1]].double() + sae.b_dec.double()
    return (found / sae.scale.double() + sae.mean.double()).float()


@pytest.mark.parametrize(("nesting", "options"), CASES)
def test_keeps_every_promise_of_a_nested_model(nesting, options):
    sae = filled(nesting, **options)
    check_nested_model(
        sae, rows(), plain=lambda x: plain(sae, x, nesting.full).detach(), shape=lambda _: (40, WIDTH), atol=1e-5
    )


@pytest.mark.parametrize(("nesting", "options"), CASES)
def test_codes_and_reconstructions_are_those_of_the_definition(nesting, options, monkeypatch):
    monkeypatch.setattr("anysize.sparse.autoencoder.model._CHUNK", 100)  # several chunks of rows
    sae, x = filled(nesting, **options), rows()
    for size in nesting:
        view = sae.at(size)
        wanted = plain_codes(sae, x, size).detach().float()
        torch.testing.assert_close(view.encode_dense(x), wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(view.decode(view.encode(x)), view(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(view.decode(wanted), view(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(view(x), plain(sae, x, size).detach(), atol=1e-5, rtol=1e-5)


def test_codes_convert_cut_and_rank():
    sae, x = filled(PREFIXES, activation="relu"), rows()
    codes = sae.encode(x)
    dense = codes.dense()
    np.testing.assert_array_equal(codes.to_scipy().toarray(), dense.numpy())
    torch.testing.assert_close(codes.prefix(8).dense(), dense[:, :8])
    torch.testing.assert_close(codes.take(torch.tensor([7, 3])).dense(), dense[[7, 3]])
    torch.testing.assert_close(codes.take(slice(2, 9)).dense(), dense[2:9])
    best = torch.zeros_like(dense).scatter(1, dense.topk(3).indices, dense.topk(3).values)
    torch.testing.assert_close(codes.strongest(3).dense(), best)
    assert codes.l0 == pytest.approx(float((dense > 0).sum(1).float().mean()))
    assert len(codes) == 40


def test_no_rows_and_rows_without_a_code():
    sae = filled(PREFIXES, activation="relu")
    assert sae.encode(rows(0)).dense().shape == (0, 16)
    assert sae(rows(0)).shape == (0, WIDTH)
    with torch.no_grad():
        sae.b_enc.fill_(-1e3)
    codes = sae.encode(rows(3))
    assert codes.l0 == 0
    bias = (sae.b_dec / sae.scale + sae.mean).detach()
    torch.testing.assert_close(sae.decode(codes), bias.expand(3, -1))


def test_loading_a_prefix_reads_its_bytes_alone(tmp_path: Path):
    sae = filled(PREFIXES, activation="batchtopk", active=3)
    sae.save(tmp_path / "sae")
    small = anysize.load(tmp_path / "sae", latents=4)
    assert small.W_dec.shape == (4, WIDTH)
    entries = json.loads((tmp_path / "sae" / "anysize.json").read_text())["tensors"]
    keep = dict.fromkeys(sae.nested_tensors(), 4)
    assert bytes_read(entries, keep) == 4 * (4 * (2 * WIDTH + 2) + 2 * WIDTH + 1)
    torch.testing.assert_close(small(rows()), sae.at(latents=4)(rows()))


def test_refusals_say_what_was_expected():
    sae = filled(PREFIXES, activation="relu")
    with pytest.raises(anysize.DataError, match=r"width 6; got shape \(2, 5\)"):
        sae.encode(torch.zeros(2, 5))
    with pytest.raises(anysize.DataError, match="NaN"):
        sae.encode(torch.full((1, 6), torch.nan))
    with pytest.raises(anysize.SizeError, match="4, 8, 16; 5 lies between"):
        sae.at(latents=5)
    with pytest.raises(anysize.SizeError, match="active=20 does not fit the dictionary, which has 16"):
        SparseAutoencoder(Nesting(active=(4, 20)), 6, latents=16)
    with pytest.raises(anysize.SizeError, match="only topk"):
        SparseAutoencoder(RANKS, 6, activation="relu", latents=16)
    with pytest.raises(anysize.SizeError, match="needs a number"):
        SparseAutoencoder(PREFIXES, 6, activation="batchtopk")
