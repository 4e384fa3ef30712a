"""The layout of SAELens, against the real package: the same codes and reconstructions, both ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import anysize as az
from anysize.core.errors import CheckpointError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.sparse import SparseAutoencoder
from anysize.sparse.formats import saelens
from tests.conftest import tree
from tests.sparse.making import ACTIVE, LATENTS, inputs, random_sae

OURS = {
    "relu": random_sae("relu"),
    "topk": random_sae("topk"),
    "batchtopk": random_sae("batchtopk"),
    "jumprelu": random_sae("jumprelu"),
    "prefix": random_sae("batchtopk").at(latents=20),
    "narrow": random_sae("topk").at(latents=8),
    "rank": random_sae("topk", Nesting(active=(2, 6, LATENTS))).at(active=6),
    "all-ranks": random_sae("topk", Nesting(active=(2, 6, LATENTS))),
}
THEIRS = ("standard", "topk", "topk-rescaled", "jumprelu", "jumprelu-raw")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours written and read by SAELens, SAELens' own beside them; one process for all, since it takes long to start."""
    place = tmp_path_factory.mktemp("saelens")
    np.save(place / "x.npy", inputs())
    for name, sae in OURS.items():
        saelens.write(sae, place / f"ours-{name}")
    script = Path(__file__).parent / "saelens_process.py"
    settings = {**os.environ, "WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, script, place], env=settings, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    return place


@pytest.mark.parametrize("name", OURS)
def test_sae_lens_gives_the_codes_and_reconstructions_that_we_give(folder, name):
    sae, theirs = OURS[name], np.load(folder / f"ours-{name}.npz")
    codes = sae.encode_dense(inputs()).numpy()
    assert codes.any()
    np.testing.assert_allclose(theirs["codes"], codes, atol=1e-5)
    np.testing.assert_allclose(theirs["rebuilt"], sae(inputs()).detach().numpy(), atol=1e-5)


def test_an_export_is_run_by_sae_lens_and_refused_if_it_differs(anysize, tmp_path, monkeypatch):
    sae = random_sae("batchtopk")
    sae.save(tmp_path / "sae")
    given = ("cut", tmp_path / "sae", "--size", f"latents={LATENTS}", "--out", tmp_path / "cut")
    said = anysize(*given)
    assert said.status == 0, said.err
    assert "checked by SAELens" in said.out
    assert "codes and reconstructions of" in said.out
    before = tree(tmp_path)
    real = saelens._folded
    monkeypatch.setattr(saelens, "_folded", lambda *given: {**real(*given), "b_dec": torch.zeros(sae.width)})
    anysize(*given).refused("SAELens", "away from the model", "nothing was written")
    assert tree(tmp_path) == before
    monkeypatch.setattr(saelens, "_folded", lambda *given: {"W_enc": torch.zeros(2, 2)})
    anysize(*given).refused("SAELens cannot run what was written")
    monkeypatch.setattr("anysize.sparse.formats.checking.version_of", lambda package: None)
    assert "not checked, since SAELens is not installed; pip install sae-lens" in anysize(*given).out


@pytest.mark.parametrize("name", THEIRS)
def test_we_give_the_codes_and_reconstructions_that_sae_lens_gives(folder, name):
    theirs = np.load(folder / f"theirs-{name}.npz")
    sae = az.load(folder / f"theirs-{name}")
    assert theirs["codes"].any()
    np.testing.assert_allclose(sae.encode_dense(inputs()).numpy(), theirs["codes"], atol=1e-5)
    np.testing.assert_allclose(sae(inputs()).detach().numpy(), theirs["rebuilt"], atol=1e-5)


@pytest.mark.parametrize("name", OURS)
def test_levels_survive_the_round_trip(folder, name):
    before, after = OURS[name], az.load(folder / f"ours-{name}")
    assert after.nesting == before.nesting.up_to(before.size)
    assert str([dict(size) for size in after.nesting]) == (folder / f"ours-{name}.levels").read_text()
    for size in after.nesting:
        small, whole = after.at(size), before.at(size)
        np.testing.assert_allclose(small.encode_dense(inputs()), whole.encode_dense(inputs()), atol=1e-5)
        np.testing.assert_allclose(small(inputs()).detach(), whole(inputs()).detach(), atol=1e-5)


def test_a_saved_directory_loads_at_a_size(folder):
    small = az.load(folder / "ours-topk", latents=20)
    assert small.nesting == Nesting(latents=(8, 20))
    assert small.W_dec.shape[0] == 20
    with pytest.raises(SizeError, match="8, 20, 40"):
        az.load(folder / "ours-topk", latents=21)


def test_older_files_say_topk_in_another_way(tmp_path):
    sae = random_sae("topk")
    saelens.write(sae, tmp_path / "sae")
    config = {"d_in": 12, "d_sae": LATENTS, "dtype": "float32", "hook_name": "x", "activation_fn_str": "topk"}
    (tmp_path / "sae" / "cfg.json").write_text(json.dumps({**config, "activation_fn_kwargs": {"k": ACTIVE}}))
    read = saelens.read(tmp_path / "sae")
    assert read.nesting == Nesting(latents=(LATENTS,))
    np.testing.assert_allclose(read.encode_dense(inputs()), sae.encode_dense(inputs()), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("b_enc"), "holds W_dec, W_enc, b_dec; expected W_dec, W_enc, b_dec, b_enc"),
        (lambda state: state.update(r_mag=torch.ones(LATENTS)), "r_mag"),
        (lambda state: state.update(W_dec=state["W_dec"].T.contiguous()), r"W_dec \(12, 40\)"),
        (lambda state: state.update(b_dec=torch.ones(3)), r"b_dec \(3,\)"),
    ],
)
def test_other_tensors_are_refused_by_what_was_found(tmp_path, change, words):
    saelens.write(random_sae("topk"), tmp_path / "sae")
    file = tmp_path / "sae" / saelens.WEIGHTS
    state = load_file(file)
    change(state)
    save_file(state, file)
    with pytest.raises(CheckpointError, match=words):
        saelens.read(tmp_path / "sae")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("architecture", "gated", "gated"), ("normalize_activations", "layer_norm", "layer_norm")],
)
def test_what_cannot_be_run_is_refused(tmp_path, key, value, words):
    saelens.write(random_sae("topk"), tmp_path / "sae")
    config = json.loads((tmp_path / "sae" / "cfg.json").read_text())
    (tmp_path / "sae" / "cfg.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(CheckpointError, match=words):
        saelens.read(tmp_path / "sae")


def test_a_damaged_or_missing_file_is_named(tmp_path):
    saelens.write(random_sae("topk"), tmp_path / "sae")
    file = tmp_path / "sae" / saelens.WEIGHTS
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(CheckpointError, match="sae_weights"):
        saelens.read(tmp_path / "sae")
    file.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        saelens.read(tmp_path / "sae")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not ours to replace"):
        saelens.write(random_sae("topk"), tmp_path / "other")


def test_the_model_knows_where_it_came_from(folder):
    sae = az.load(folder / "theirs-topk")
    assert isinstance(sae, SparseAutoencoder)
    assert sae.about["source"].endswith("theirs-topk")


def test_cut_writes_a_size_in_this_layout(anysize, tmp_path):
    random_sae("batchtopk").save(tmp_path / "sae")
    said = anysize("cut", tmp_path / "sae", "--size", "latents=20", "--out", tmp_path / "small")
    assert said.status == 0
    assert "load_from_disk" in said.out
    small = saelens.read(tmp_path / "small")
    assert small.nesting == Nesting(latents=(8, 20))
    np.testing.assert_allclose(
        small(inputs()).detach(), random_sae("batchtopk").at(latents=20)(inputs()).detach(), atol=1e-5
    )
    assert anysize("cut", tmp_path / "small", "--size", "latents=8", "--out", tmp_path / "smaller").status == 0


def test_info_tells_what_a_directory_of_another_library_holds(anysize, folder):
    ours = anysize("info", folder / "ours-topk", "--json").json
    assert ours["what"] == "model of another library"
    assert [row["size"] for row in ours["sizes"]] == ["latents=8", "latents=20", "latents=40"]
    assert "topk" in anysize("info", folder / "theirs-topk").out
