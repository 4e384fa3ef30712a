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


STATE = {"k": torch.tensor(ACTIVE), "threshold": THRESHOLD}
NESTED = {**STATE, "group_sizes": torch.tensor([10, 10, 20])}
BAD_TENSORS = {
    "threshold of another length": ("BatchTopKSAE", {**STATE, "threshold": torch.ones(7)}, r"shape \(7,\)"),
    "threshold of two axes": ("JumpReluAutoEncoder", {"threshold": torch.ones(2, LATENTS)}, r"shape \(2, 40\)"),
    "groups too few": ("MatryoshkaBatchTopKSAE", {**NESTED, "group_sizes": torch.tensor([10, 10])}, "20 in all"),
    "groups too many": ("MatryoshkaBatchTopKSAE", {**NESTED, "group_sizes": torch.tensor([30, 30])}, "60 in all"),
    "a group of none": ("MatryoshkaBatchTopKSAE", {**NESTED, "group_sizes": torch.tensor([0, 40])}, "at least 1"),
    "groups of halves": ("MatryoshkaBatchTopKSAE", {**NESTED, "group_sizes": torch.tensor([19.5, 20.5])}, "whole"),
    "groups in two axes": ("MatryoshkaBatchTopKSAE", {**NESTED, "group_sizes": torch.tensor([[20], [20]])}, "whole"),
    "one number as groups": ("MatryoshkaBatchTopKSAE", {**NESTED, "group_sizes": torch.tensor(40)}, "whole"),
    "k of 0": ("AutoEncoderTopK", {"k": torch.tensor(0)}, "k=0"),
    "k of -3": ("AutoEncoderTopK", {"k": torch.tensor(-3)}, "k=-3"),
    "k of nan": ("AutoEncoderTopK", {"k": torch.tensor(float("nan"))}, "k=nan"),
    "k of a half": ("AutoEncoderTopK", {"k": torch.tensor(2.5)}, "k=2.5"),
    "several k": ("AutoEncoderTopK", {"k": torch.tensor([1, 2])}, r"k=\[1, 2\]"),
    "nan in the encoder": ("AutoEncoder", {"W_enc": W.T * float("nan")}, "W_enc that are not finite"),
    "a weight whose products overflow": ("AutoEncoder", {"W_enc": W.T * 1e30}, "W_enc that are not finite"),
    "inf in a bias": ("AutoEncoder", {"b_dec": C * float("inf")}, "b_dec that are not finite"),
    "nan in the threshold": ("BatchTopKSAE", {**STATE, "threshold": torch.tensor(float("nan"))}, "threshold"),
    "whole numbers as weights": ("AutoEncoder", {"W_dec": V.long()}, "W_dec that are not finite floats"),
    "one axis": ("AutoEncoder", {"W_enc": W[0]}, "two axes"),
    "no axis": ("AutoEncoder", {"W_enc": torch.tensor(1.0)}, "two axes"),
    "no latents": ("AutoEncoder", {"W_enc": torch.zeros(WIDTH, 0)}, "."),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_tensors_that_cannot_be_are_one_sentence(tmp_path, case):
    kind, state, words = BAD_TENSORS[case]
    folder = dictionary(tmp_path / "sae", kind, {**plain(), **state})
    with pytest.raises(CheckpointError, match=words) as refused:
        anysize.load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["[]", "1", "{", '{"trainer": 3}', '{"trainer": {"dict_class": ["x"]}}',
                                     '{"trainer": {"dict_class": 3}}', "[" * 5000])  # fmt: skip
def test_a_description_that_cannot_be_is_one_sentence(tmp_path, content):
    folder = dictionary(tmp_path / "sae", None, {**plain(), **STATE})
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError) as refused:
        anysize.load(folder)
    assert "\n" not in str(refused.value)


def test_a_file_that_could_run_code_is_refused_without_advice_to_trust_it(tmp_path):
    mark = tmp_path / "it ran"

    class Bomb:
        def __reduce__(self):
            return open, (str(mark), "w")

    folder = dictionary(tmp_path / "sae", "AutoEncoder", {**plain(), "more": Bomb()})
    with pytest.raises(CheckpointError, match="could run code") as refused:
        anysize.load(folder)
    assert not mark.exists()
    assert not any(word in str(refused.value) for word in ("weights_only", "trust", "option", "safe_globals"))


def parts() -> dict[str, torch.Tensor]:
    return {"encoder.weight": W, "encoder.bias": B, "W_dec": V, "b_dec": C}


@pytest.mark.parametrize(("config", "words"), [
    ({"signed": True}, "signed"), ({"k": "5"}, "k='5'"), ({"k": 0}, "k=0"), ({"k": -1}, "k=-1"),
    ({"k": True}, "k=True"), ({"k": None}, "expected|k"),
    ({"k": 2.5}, "whole number"), ({"k": [3]}, "k="), ({"k": float("nan")}, "k=nan"),
    ({"d_in": 7}, "d_in=7"), ({"d_in": "12"}, "d_in='12'"), ({"activation": "groupmax"}, "activation"),
    ({"transcode": True}, "transcode"),
])  # fmt: skip
def test_sparsify_that_says_what_we_cannot_read(tmp_path, config, words):
    with pytest.raises(anysize.AnysizeError, match=words) as refused:
        anysize.load(sparsify(tmp_path / "sae", parts(), **{"k": ACTIVE, **config}))
    assert "\n" not in str(refused.value)


def test_sparsify_with_signed_set_to_false_is_read(tmp_path):
    values = torch.relu((X - C) @ W.T + B)
    same(sparsify(tmp_path / "sae", parts(), k=ACTIVE, signed=False, d_in=WIDTH), topk(values))


@pytest.mark.parametrize("change", [
    {"k": "5"}, {"k": 0}, {"architecture": ["topk"]}, {"architecture": 3}, {"apply_b_dec_to_input": "no"},
    {"rescale_acts_by_decoder_norm": 1}, {"d_in": 3}, {"metadata": [1]}, {"metadata": {"anysize": 3}},
    {"metadata": {"anysize": {"nesting": {"sizes": [{"latents": 10**9}], "weights": [1]}}}},
    {"metadata": {"anysize": {"nesting": 3}}}, {"activation_fn_kwargs": 3}, {"normalize_activations": ["x"]},
])  # fmt: skip
def test_the_layout_of_saelens_that_says_what_cannot_be(tmp_path, change):
    from anysize.sparse.formats import saelens
    from tests.sparse.making import random_sae

    saelens.write(random_sae("topk"), tmp_path / "sae")
    file = tmp_path / "sae" / "cfg.json"
    config = json.loads(file.read_text())
    if "k" in change:
        del config["metadata"]["anysize"]
    file.write_text(json.dumps({**config, **change}))
    with pytest.raises(anysize.AnysizeError) as refused:
        anysize.load(tmp_path / "sae")
    assert "\n" not in str(refused.value)


def test_measuring_an_autoencoder_at_dims_is_one_sentence(tmp_path, anysize):
    from tests.sparse.making import random_sae

    random_sae().save(tmp_path / "sae")
    np.save(tmp_path / "x.npy", inputs())
    anysize("measure", tmp_path / "sae", tmp_path / "x.npy", "--sizes", "dims=8").refused(
        "there is no axis 'dims'; there are: latents"
    )
