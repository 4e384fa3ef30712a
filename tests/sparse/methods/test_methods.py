from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import anysize as az
from anysize.backbones.site import Site
from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.sparse import CSR, MSAE, BatchTopK, JumpReLU, MatryoshkaSAE, ReLU, TopK, fit_together, reconstruction
from anysize.sparse.methods.rivals import sorted_by_energy
from anysize.sparse.rows.source import Source
from anysize.sparse.rows.stored import is_held_out
from anysize.testing import check_nested_model
from tests.conftest import sentences
from tests.sparse.making import features

D = 16
SHORT = {"steps": 60, "batch_size": 128, "learning_rate": 3e-3}
METHODS = {
    "matryoshka-sae": MatryoshkaSAE(latents=(8, 16, 64), active=(4,), **SHORT),
    "grid": MatryoshkaSAE(latents=(16, 64), active=(2, 8), codes="topk", **SHORT),
    "msae": MSAE(latents=(64,), active=(2, 8, 64), weighting="reverse", **SHORT),
    "csr": CSR(latents=(64,), active=(4,), **SHORT),
    "topk": TopK(latents=(16, 64), active=(4,), **SHORT),
    "batchtopk": BatchTopK(latents=(64,), active=(4,), **SHORT),
    "relu": ReLU(latents=(64,), **SHORT),
    "jumprelu": JumpReLU(latents=(16, 64), active=(4,), **SHORT),
}


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return features(1200, D)


@pytest.fixture(scope="module")
def data(vectors) -> Data:
    return Data("made", "made", corpus=Items([str(n) for n in range(len(vectors))], vectors, "vector"))


def test_every_method_gives_a_nested_model_with_its_sizes(data, vectors):
    for name, method in METHODS.items():
        sae = method.fit(data)
        check_nested_model(sae, vectors[:20], shape=lambda _: (20, D))
        assert sae.nesting == method.nesting(D), name
        assert sae.about["method"] == method.name
        full = reconstruction(sae, vectors)
        assert full.fvu < 0.85, (name, full)
        if sae.activation == "batchtopk":
            held = vectors[is_held_out(np.arange(1200), 1200)]
            assert reconstruction(sae, held).l0 == pytest.approx(4, abs=0.05)


def test_sizes_and_weights_follow_from_the_options():
    assert MatryoshkaSAE().nesting(384).values("latents") == (128, 256, 512, 1024, 2048)
    assert MSAE(latents=(100,)).nesting(384).values("active") == (16, 32, 64, 100)
    assert MSAE(latents=(64,), weighting="reverse").nesting(16).weights == (3.0, 2.0, 1.0)
    assert CSR(active=(8,)).nesting(384).values("active") == (8, 32)
    assert CSR(active=(8,)).nesting(384).weights == (1.0, 1 / 8)
    assert CSR(active=(8,), multi_topk_weight=0.0).nesting(384).values("active") == (8,)
    assert TopK(latents=(8, 64)).nesting(16).weights == (0.0, 1.0)
    assert MatryoshkaSAE(latents=(8, 64), weights=(2.0, 1.0)).nesting(16).weights == (2.0, 1.0)
    assert MatryoshkaSAE(latents=(4096, 16384)).recipe(384).learning_rate == pytest.approx(2e-4)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (MatryoshkaSAE(latents=(16, 8)), "latents must be increasing: 8 comes after 16"),
        (TopK(latents=(16,), active=(32,)), "active=32 exceeds the dictionary, which has 16 latents"),
        (BatchTopK(latents=(64,), active=(2, 4)), "several numbers of active latents need topk"),
        (MatryoshkaSAE(latents=(8, 64), active=(4,), weights=(1.0,)), "1 weights for 2 sizes"),
    ],
)
def test_impossible_sizes_are_refused(method, words, data):
    with pytest.raises(SizeError, match=words):
        method.fit(data)


def test_impossible_options_are_refused(data):
    for options, words in (
        ({"steps": 0}, "steps must be above zero"),
        ({"warmup": 2}, "warmup is a share"),
        ({"aux": -1}, "at least 0"),
    ):
        with pytest.raises(AnysizeError, match=words):
            MatryoshkaSAE(**options)
    with pytest.raises(AnysizeError, match="temperature"):
        CSR(temperature=0)
    with pytest.raises(AnysizeError, match="share steps"):
        fit_together([TopK(latents=(64,), steps=3), TopK(latents=(64,), steps=4)], data)
    with pytest.raises(DataError, match="no pairs"):
        CSR(positives="pair").fit(data)
    with pytest.raises(DataError, match="no label for each row"):
        CSR(positives="label").fit(data)
    with pytest.raises(DataError, match="vectors already"):
        TopK(model="x").fit(data)
    with pytest.raises(AnysizeError, match="name the model too"):
        Source(site="layer.1")


def test_figures_of_a_reconstruction_are_those_of_their_definitions(vectors, data):
    sae = METHODS["matryoshka-sae"].fit(data).at(latents=16)
    found = reconstruction(sae, vectors)
    x, made = torch.as_tensor(vectors).double(), sae(vectors).double()
    around = x - x.mean(0)
    assert found.fvu == pytest.approx(float((x - made).square().sum() / around.square().sum()), rel=1e-5)
    cosine = torch.nn.functional.cosine_similarity(around, made - x.mean(0), dim=1).mean()
    assert found.cosine == pytest.approx(float(cosine), rel=1e-5)
    codes = sae.encode_dense(vectors)
    assert found.l0 == pytest.approx(float((codes > 0).sum(1).float().mean()))
    assert found.dead == pytest.approx(float((codes.amax(0) == 0).float().mean()))


def test_sorting_by_energy_changes_the_order_alone(data, vectors):
    sae = METHODS["topk"].fit(data)
    twin = sorted_by_energy(sae, vectors)
    torch.testing.assert_close(twin(vectors), sae(vectors))
    energy = twin.encode_dense(vectors).square().sum(0)
    assert bool((energy.diff() <= 1e-4).all())


def test_the_verbs_on_vectors(anysize, tmp_path: Path, vectors):
    np.save(tmp_path / "X.npy", vectors)
    options = ["--latents", "8,16,64", "--active", "4", "--steps", "40", "--batch-size", "128"]
    out = tmp_path / "sae"
    fit = ["fit", tmp_path / "X.npy", "--method", "matryoshka-sae", *options, "--out", out]
    assert anysize(*fit, "--weights", "1,0.5,2").status == 0
    assert az.load(out).nesting.weights == (1.0, 0.5, 2.0)
    anysize(*fit, "--weights", "1,half,2").refused("'1,half,2' is not a list of numbers such as 1,0.5")
    said = anysize("measure", out, tmp_path / "X.npy", "--arms", "batchtopk,sorted,pruned,single", "--json")
    assert said.status == 0, said.err
    records = {(one["arm"], one["size"]["latents"]): one for one in said.json["records"]}
    assert len(records) == 15
    assert records["pruned", 8]["metrics"]["variance_explained"] > records["sorted", 8]["metrics"]["variance_explained"]
    assert records["sorted", 64]["metrics"]["variance_explained"] == pytest.approx(
        records["batchtopk", 64]["metrics"]["variance_explained"], abs=1e-5
    )
    assert (
        records["nested", 8]["metrics"]["variance_explained"] < records["nested", 64]["metrics"]["variance_explained"]
    )
    assert "held out" in said.json["meta"]["task"]
    np.save(tmp_path / "other.npy", vectors[:, :5])
    anysize("measure", out, tmp_path / "other.npy").refused("reads vectors of width 16; got shape")
    np.save(tmp_path / "new.npy", vectors[:300] + 1)
    anysize("measure", out, tmp_path / "new.npy", "--arms", "single").refused("that the model was fitted on")
    np.save(tmp_path / "same.npy", np.ones((50, 4), np.float32))
    anysize("fit", tmp_path / "same.npy", "--method", "topk", "--out", tmp_path / "no").refused("all rows are the same")
    few = ["fit", tmp_path / "X.npy", "--method", "topk", "--batch-size", "5000", "--out", tmp_path / "no"]
    anysize(*few).refused("do not fill one batch of 5000")


def test_a_killed_run_resumes_from_the_command_line(anysize, tmp_path: Path, vectors, monkeypatch):
    np.save(tmp_path / "X.npy", vectors)
    words = ["fit", tmp_path / "X.npy", "--method", "batchtopk", "--latents", "64", "--active", "4", "--steps", "40"]
    assert anysize(*words, "--out", tmp_path / "whole").status == 0
    from anysize.sparse.learning.learner import Learner

    def move(self, step, steps, real=Learner.move):
        if step == 23:
            raise KeyboardInterrupt
        real(self, step, steps)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "move", move)
        assert anysize(*words, "--out", tmp_path / "sae").status == 130
    assert anysize(*words, "--out", tmp_path / "sae", "--resume").status == 0
    whole, resumed = (json.loads((tmp_path / name / "anysize.json").read_text()) for name in ("whole", "sae"))
    assert whole["fingerprint"] == resumed["fingerprint"]


def test_texts_through_an_encoder_and_through_a_module(anysize, tmp_path: Path, encoder_path: Path):
    lines = "\n".join(json.dumps({"text": text}) for text in sentences(120))
    (tmp_path / "texts.jsonl").write_text(lines)
    short = ["--latents", "8,32", "--active", "3", "--steps", "10", "--batch-size", "32"]
    words = ["fit", tmp_path / "texts.jsonl", "--method", "matryoshka-sae", *short]
    made = anysize(*words, "--model", encoder_path, "--cache", tmp_path / "rows", "--out", tmp_path / "encoded")
    assert made.status == 0, made.err
    kept = np.load(tmp_path / "rows" / "000000.npy")
    assert kept.shape == (120, 32)
    assert anysize("measure", tmp_path / "encoded", tmp_path / "texts.jsonl").status == 0
    site = [*words, "--model", encoder_path, "--site", "layer.1", "--out", tmp_path / "tokens"]
    assert anysize(*site).status == 0
    assert anysize_rows(tmp_path / "tokens") > 120 * 4
    assert anysize("measure", tmp_path / "tokens", tmp_path / "texts.jsonl").status == 0
    anysize(*words, "--out", tmp_path / "no").refused("texts need an encoder")
    anysize(*words, "--model", encoder_path, "--site", "layer.9", "--out", tmp_path / "no").refused(
        "no module is called 'layer.9'", "layer.0"
    )
    anysize(*words, "--model", encoder_path, "--site", "output", "--out", tmp_path / "no").refused("modules end in")
    (tmp_path / "others.jsonl").write_text(json.dumps({"text": "ba de"}) + "\n" + json.dumps({"text": "fi"}))
    other = [
        "fit",
        tmp_path / "others.jsonl",
        "--method",
        "topk",
        "--model",
        encoder_path,
        "--cache",
        tmp_path / "rows",
    ]
    anysize(*other, "--out", tmp_path / "no").refused("holds rows of other texts")


def anysize_rows(path: Path) -> int:
    return az.load(path).about["rows"]


def test_rows_of_a_site_are_the_hidden_states_of_real_tokens(encoder_path: Path):
    from transformers import AutoModel, AutoTokenizer

    texts = sentences(5)
    found = Site(str(encoder_path), "encoder.layer.0").rows(texts)
    tokenizer, model = AutoTokenizer.from_pretrained(encoder_path), AutoModel.from_pretrained(encoder_path).eval()
    wanted = []
    for text in texts:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[1][0]
        wanted.append(states[1:-1])
    np.testing.assert_allclose(found, torch.cat(wanted).numpy(), atol=1e-5)


def test_pairs_of_texts_teach_codes_to_agree(anysize, tmp_path: Path, encoder_path: Path):
    from tests.conftest import write_pairs

    pairs = write_pairs(tmp_path / "pairs.jsonl", 60)
    words = ["fit", pairs, "--method", "csr", "--model", encoder_path, "--positives", "pair", "--latents", "32"]
    short = ["--active", "4", "--steps", "10", "--batch-size", "16", "--out", tmp_path / "csr"]
    said = anysize(*words, *short)
    assert said.status == 0, said.err
    assert anysize("measure", tmp_path / "csr", pairs).status == 0
    assert read(pairs).training_pairs() is not None
