"""Files of dictionary_learning and sparsify, against what those libraries compute, written out here in plain torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import anysize
from anysize.core.errors import CheckpointError
from anysize.core.sizes.nesting import Nesting
from tests.sparse.making import ACTIVE, LATENTS, WIDTH, inputs

RANDOM = torch.Generator().manual_seed(3)
W, V = torch.randn(LATENTS, WIDTH, generator=RANDOM), torch.randn(LATENTS, WIDTH, generator=RANDOM)
B, C = torch.randn(LATENTS, generator=RANDOM) / 4, torch.randn(WIDTH, generator=RANDOM)
THRESHOLD = torch.tensor(1.5)
X = torch.from_numpy(inputs())


def dictionary(folder: Path, kind: str | None, state: dict[str, torch.Tensor], **trainer: object) -> Path:
    folder.mkdir()
    torch.save(state, folder / "ae.pt")
    if kind is not None:
        (folder / "config.json").write_text(json.dumps({"trainer": {"dict_class": kind, **trainer}, "buffer": {}}))
    return folder


def linear() -> dict[str, torch.Tensor]:
    return {"encoder.weight": W, "encoder.bias": B, "decoder.weight": V.T.contiguous(), "b_dec": C}


def plain() -> dict[str, torch.Tensor]:
    return {"W_enc": W.T.contiguous(), "b_enc": B, "W_dec": V, "b_dec": C}


def topk(pre: torch.Tensor) -> torch.Tensor:
    """``relu`` first, then the k largest, as both libraries have it."""
    values, places = torch.relu(pre).topk(ACTIVE, dim=1)
    return torch.zeros_like(pre).scatter_(1, places, values)


def same(folder: Path, codes: torch.Tensor) -> anysize.NestedModel:
    sae = anysize.load(folder)
    assert codes.any()
    np.testing.assert_allclose(sae.encode_dense(inputs()), codes, atol=1e-4)
    np.testing.assert_allclose(sae(inputs()).detach(), codes @ V + C, atol=1e-4)
    return sae


def test_relu(tmp_path):
    state = {**linear(), "bias": C}
    del state["b_dec"]
    same(dictionary(tmp_path / "sae", "AutoEncoder", state), torch.relu((X - C) @ W.T + B))


def test_topk(tmp_path):
    state = {**linear(), "k": torch.tensor(ACTIVE), "threshold": torch.tensor(-1.0)}
    same(dictionary(tmp_path / "sae", "AutoEncoderTopK", state), topk((X - C) @ W.T + B))


def test_batchtopk_and_its_groups(tmp_path):
    pre = torch.relu((X - C) @ W.T + B)
    codes = pre * (pre > THRESHOLD)
    state = {"k": torch.tensor(ACTIVE), "threshold": THRESHOLD}
    same(dictionary(tmp_path / "plain", "BatchTopKSAE", {**linear(), **state}), codes)
    groups = {**plain(), **state, "group_sizes": torch.tensor([10, 10, 20])}
    sae = same(dictionary(tmp_path / "nested", "MatryoshkaBatchTopKSAE", groups), codes)
    assert sae.nesting == Nesting(latents=(10, 20, 40))
    np.testing.assert_allclose(sae.at(latents=20)(inputs()).detach(), codes[:, :20] @ V[:20] + C, atol=1e-4)


@pytest.mark.parametrize("subtract", [True, False])
def test_jumprelu(tmp_path, subtract):
    pre = (X - C if subtract else X) @ W.T + B
    state = {**plain(), "threshold": THRESHOLD.expand(LATENTS).clone()}
    folder = dictionary(tmp_path / "sae", "JumpReluAutoEncoder", state, apply_b_dec_to_input=subtract)
    same(folder, torch.relu(pre * (pre > THRESHOLD)))


def test_a_class_or_keys_that_are_not_known_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"GatedAutoEncoder \(W_dec, W_enc, b_dec, b_enc\)"):
        anysize.load(dictionary(tmp_path / "gated", "GatedAutoEncoder", plain()))
    with pytest.raises(CheckpointError, match=r"TopK or BatchTopK; put its config\.json"):
        anysize.load(dictionary(tmp_path / "unsaid", None, {**linear(), "k": torch.tensor(3)}))
    with pytest.raises(CheckpointError, match=r"holds W_dec, W_enc, b_dec, b_enc, gate_bias"):
        anysize.load(dictionary(tmp_path / "keys", "AutoEncoder", {**plain(), "gate_bias": B}))
    with pytest.raises(CheckpointError, match="expected a threshold"):
        anysize.load(dictionary(tmp_path / "none", "BatchTopKSAE", {**plain(), "k": torch.tensor(3)}))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    (tmp_path / "sae").mkdir()
    torch.save({"W_enc": Path("/tmp")}, tmp_path / "sae" / "ae.pt")
    with pytest.raises(CheckpointError, match="tensors alone"):
        anysize.load(tmp_path / "sae")


def sparsify(folder: Path, state: dict[str, torch.Tensor], **config: object) -> Path:
    folder.mkdir()
    save_file(state, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": WIDTH, "k": ACTIVE, "activation": "topk", **config}))
    return folder


def test_sparsify(tmp_path):
    state = {"encoder.weight": W, "encoder.bias": B, "W_dec": V, "b_dec": C}
    same(sparsify(tmp_path / "sae", state), topk((X - C) @ W.T + B))
    with pytest.raises(CheckpointError, match="transcode"):
        anysize.load(sparsify(tmp_path / "across", state, transcode=True))
    with pytest.raises(CheckpointError, match="groupmax"):
        anysize.load(sparsify(tmp_path / "other", state, activation="groupmax"))
    with pytest.raises(CheckpointError, match=r"holds W_dec, b_dec, encoder\.bias, encoder\.weight, extra"):
        anysize.load(sparsify(tmp_path / "keys", {**state, "extra": B.clone()}))
