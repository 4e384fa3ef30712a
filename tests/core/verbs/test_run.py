from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy.sparse import load_npz

import anysize as az
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError
from anysize.core.verbs import run as run_module
from anysize.text.embedder.model import Embedder
from tests.conftest import WIDTH, sentences
from tests.kinds import LINKS, ROWS, models
from tests.tiny_speech import film, noise
from tests.tiny_vision import shapes
from tests.tiny_vlm import drawn

TEXTS = sentences(7)
READS_VECTORS = ("classifier", "sae")


@pytest.fixture(scope="module")
def kinds(encoder_path, lm_path):
    return {kind: make() for kind, (make, _) in models(encoder_path, lm_path).items()}


@pytest.fixture(scope="module")
def saved(kinds, tmp_path_factory):
    """A folder with a model of each kind that writes differently."""
    root = tmp_path_factory.mktemp("saved")
    for kind in ("embedder", "sae", "classifier", "quantized-lm"):
        kinds[kind].save(root / kind)
    return root


def read_lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def items_for(kind):
    if kind in ("vlm", "interleaved"):
        shown = [[{"image": one}, {"text": "how many"}] for one in drawn(3)]
        return Items(["a", "b", "c"], shown, "parts")
    if kind == "image-encoder":
        return Items(["a", "b", "c"], shapes(3), "image")
    if kind == "speech":
        heard = [[{"audio": noise(0.3, seed)}, {"video": film(0.3, seed)}] for seed in range(3)]
        return Items(["a", "b", "c"], heard, "parts")
    if kind in ("codebook", "ssb-encoder"):
        return LINKS.data().items()
    return ROWS if kind in READS_VECTORS else TEXTS


def first_two(kind):
    items = items_for(kind)
    return items.take([0, 1]) if isinstance(items, Items) else items[:2]


def options_for(kind):
    return {"max_new_tokens": 3} if kind.endswith("lm") or kind == "speech" else {}


def test_every_kind_gives_one_output_per_item_at_every_size(kinds):
    for kind, model in kinds.items():
        assert model.reads
        for size in model.nesting:
            alone = az.run(model, first_two(kind), size=size, batch_size=1, **options_for(kind))
            assert (alone.count, alone.gives, len(alone.outputs)) == (2, model.gives, 2), (kind, size)


def test_outputs_are_what_the_model_says_in_its_own_words(kinds):
    for kind in ("embedder", "encoder", "task-encoder", "quantized-encoder"):
        small = kinds[kind].at(kinds[kind].nesting[0])
        np.testing.assert_array_equal(az.run(small, TEXTS).outputs, small.encode(TEXTS))
    sae = kinds["sae"]
    assert torch.equal(az.run(sae, ROWS).outputs.dense(), sae.encode_dense(ROWS))
    classifier = kinds["classifier"]
    with torch.no_grad():
        for weights in classifier.head.weights:
            weights.copy_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(3)))
    (first, *_) = az.run(classifier, ROWS).outputs
    logits = classifier.head.weights[-1] @ torch.from_numpy(ROWS[0]) + classifier.head.biases[-1]
    wanted = torch.softmax(logits, 0).tolist()
    assert {one["label"]: pytest.approx(one["probability"]) for one in first} == dict(
        zip(classifier.classes, wanted, strict=True)
    )
    assert first[0]["probability"] >= first[1]["probability"]
    assert [len(one) for one in az.run(classifier, ROWS, top=1).outputs] == [1] * len(ROWS)


def test_files_hold_what_memory_holds(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "STEP", 3)  # several parts
    monkeypatch.setattr(run_module, "FAST", 3)
    model, texts = az.load(saved / "embedder"), tmp_path / "in.txt"
    texts.write_text("\n".join([TEXTS[0], "", *TEXTS[1:]]), encoding="utf-8")
    ids, wanted = ["1", *[str(line) for line in range(3, 9)]], model.at(dims=4).encode(TEXTS)
    for form in ("npy", "npz", "safetensors", "jsonl"):
        done = az.run(saved / "embedder", texts, size="dims=4", out=tmp_path / f"out.{form}")
        assert (done.count, done.outputs, done.before) == (7, None, 0)
        assert not (tmp_path / f"out.{form}.partial").exists()
    for found in (np.load(tmp_path / "out.npy"), np.load(tmp_path / "out.npz")["vectors"]):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        assert found.dtype == np.float32
    assert np.load(tmp_path / "out.npz")["ids"].tolist() == ids
    with safe_open(tmp_path / "out.safetensors", framework="np") as held:
        np.testing.assert_array_equal(held.get_tensor("vectors"), np.load(tmp_path / "out.npy"))
        assert json.loads(held.metadata()["ids"]) == ids
    lines = read_lines(tmp_path / "out.jsonl")
    assert [line["id"] for line in lines] == ids
    np.testing.assert_array_equal(np.float32([line["output"] for line in lines]), np.load(tmp_path / "out.npy"))
    assert len(az.read(tmp_path / "out.npz").items()) == 7  # what other verbs read

    sae, rows = az.load(saved / "sae"), tmp_path / "rows.npy"
    np.save(rows, np.tile(ROWS, (2, 1)))
    for form in ("npz", "safetensors", "jsonl"):
        az.run(saved / "sae", rows, out=tmp_path / f"codes.{form}")
    dense = sae.encode_dense(np.tile(ROWS, (2, 1))).numpy()
    np.testing.assert_allclose(load_npz(tmp_path / "codes.npz").toarray(), dense, atol=1e-5)
    for row, line in zip(dense, read_lines(tmp_path / "codes.jsonl"), strict=True):
        assert line["output"]["latents"] == np.flatnonzero(row).tolist()
        np.testing.assert_allclose(line["output"]["values"], row[row > 0], atol=1e-5)
    with safe_open(tmp_path / "codes.safetensors", framework="np") as held:
        np.testing.assert_allclose(held.get_tensor("data"), dense[dense > 0], atol=1e-5)


KILLED = """
import os, signal, sys
import anysize.core.verbs.run as run
from anysize.text.embedder.model import Embedder
run.FAST, count, own = 3, 0, Embedder.encode
def encode(self, rows, **options):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return own(self, rows, **options)
Embedder.encode = encode
run.run(sys.argv[1], sys.argv[2], out=sys.argv[3])
"""


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch):
    """Two of three parts were done; they are not run again, but for one that was altered."""
    monkeypatch.setattr(run_module, "FAST", 3)
    model, rows, out = tmp_path / "model", tmp_path / "rows.npy", tmp_path / "out.npy"
    Embedder(az.Nesting(dims=(4, 8)), 12, weight=torch.randn(8, 12, generator=torch.Generator().manual_seed(0))).save(
        model
    )
    held = np.random.default_rng(1).standard_normal((7, 12)).astype(np.float32)
    np.save(rows, held)
    az.run(model, rows, out=tmp_path / "whole.npy")
    command = [sys.executable, "-c", KILLED, str(model), str(rows), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()

    np.save(rows, held[::-1])
    with pytest.raises(AnysizeError, match="has another input; give the same to go on with it, or delete that folder"):
        az.run(model, rows, out=out)
    np.save(rows, held)
    with pytest.raises(AnysizeError, match="has another size, task, side or option; give the same"):
        az.run(model, rows, out=out, size="dims=4")
    (tmp_path / "out.npy.partial" / "000000.npy").write_bytes(b"altered")
    seen, own = [], Embedder.encode
    monkeypatch.setattr(Embedder, "encode", lambda self, x, **options: seen.append(len(x)) or own(self, x, **options))
    assert az.run(model, rows, out=out).before == 3
    assert seen == [3, 1]
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not (tmp_path / "out.npy.partial").exists()


def test_what_a_model_does_not_read_or_take_is_said_in_a_sentence(kinds, saved, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    sae, lm, embedder = (kinds[kind] for kind in ("sae", "causal-lm", "embedder"))
    cases = [
        ((saved / "embedder", tmp_path / "photo.jpg"), {}, "embedder reads text and vectors; .*photo.jpg is an image"),
        ((lm, ROWS), {}, "the model reads text; the array holds vectors"),
        ((kinds["classifier"], "some words"), {}, "the model reads vectors; what was given holds text"),
        ((sae, ["some words"]), {}, "was fitted on vectors and knows of no encoder"),
        ((embedder, "nowhere.txt"), {}, "nowhere.txt does not exist"),
        ((embedder, "  "), {}, "the text to run on is empty"),
        ((embedder, []), {}, "the list is empty"),
        ((embedder, tmp_path / "empty.txt"), {}, "empty.txt holds no text; expected one a line"),
        ((embedder, 7), {}, "7 is no data; expected a path, a list of texts"),
        ((embedder, TEXTS), {"max_new_tokens": 3}, "does not run with max_new_tokens; there are: batch_size"),
        ((lm, TEXTS), {"max_new_token": 3}, "did you mean max_new_tokens"),
        ((embedder, TEXTS), {"task": "separation"}, "asked for the task 'separation', but it has none"),
        ((embedder, TEXTS), {"size": "dims=5"}, "trained for dims 4, 16"),
        ((lm, TEXTS), {"out": tmp_path / "x.npy"}, "cannot write next tokens to .*; name a file that ends in .jsonl"),
        ((sae, ROWS), {"out": tmp_path / "x.npy"}, "ends in .npz, .safetensors, .jsonl"),
        ((embedder, TEXTS), {"out": tmp_path / "no" / "x.npy"}, "the folder .* does not exist"),
        (("nowhere", TEXTS), {}, "nowhere does not exist"),
        ((7, TEXTS), {}, "run takes a nested model"),
    ]
    for given, options, words in cases:
        with pytest.raises(AnysizeError, match=words):
            az.run(*given, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.txt", "photo.jpg"]


class Short(az.NestedModel):
    """Gives fewer outputs than there are items."""

    kind = "short"

    def run(self, items, *, side=None):
        return items[1:]


def test_outputs_that_are_not_one_per_item_are_refused(tmp_path):
    with pytest.raises(AnysizeError, match="the model gave 3 outputs for 4 items"):
        az.run(Short(az.Nesting(dims=(2,))), ROWS)


def test_what_is_extracted_of_every_kind_is_of_that_kind_and_is_saved_like_any_other(kinds, tmp_path):
    for kind, model in kinds.items():
        size = model.nesting[0]
        small = model.extract(size)
        assert type(small) is type(model)
        small.save(tmp_path / kind)
        for one in (small, az.load(tmp_path / kind).for_task(model.task)):
            given, wanted = (
                az.run(made, items_for(kind), **options_for(kind)).outputs for made in (one, model.at(size))
            )
            if isinstance(given, list) and model.gives != "labels":
                assert given == wanted
            else:
                found, expected = (plain_numbers(made) for made in (given, wanted))
                np.testing.assert_allclose(found, expected, atol=1e-5)


def plain_numbers(outputs):
    if isinstance(outputs, list) and "index" in outputs[0]:
        return [[one["index"], one["rsrp_dbm"]] for one in outputs]
    if isinstance(outputs, list):
        return [sorted(one["probability"] for one in row) for row in outputs]
    return outputs if isinstance(outputs, np.ndarray) else outputs.dense()


def test_the_verb_tells_people_and_programs(saved, tmp_path, anysize, monkeypatch):
    import io

    said = anysize("run", saved / "embedder", TEXTS[0])
    assert said.out.endswith(" ... (16 dims)\n")
    assert "ran in" in said.err
    assert "to load" in said.err
    monkeypatch.setattr("sys.stdin", io.StringIO('{"id": "x", "text": "balan"}\n{"text": "domer"}\n'))
    lines = anysize("run", saved / "embedder", "-", "--json", "--size", "dims=4").out.splitlines()
    found = [json.loads(line) for line in lines]
    assert [line["id"] for line in found] == ["x", "2"]
    wanted = az.load(saved / "embedder", dims=4).encode(["balan", "domer"])
    np.testing.assert_allclose([line["output"] for line in found], wanted, atol=1e-6)

    rows = tmp_path / "rows.npy"
    np.save(rows, ROWS)
    assert anysize("run", saved / "sae", rows).out.count(" active: ") == len(ROWS)
    assert anysize("run", saved / "classifier", rows, "--top", 1).out.splitlines()[0].split()[1] in ("cat", "dog")
    words = anysize("run", saved / "quantized-lm", "balan", "--size", "bits=2", "--max-new-tokens", 5)
    assert words.out == az.load(saved / "quantized-lm", bits=2).generate(["balan"], max_new_tokens=5)[0] + "\n"
    told = anysize("run", saved / "sae", rows, "--out", tmp_path / "codes.npz", "--json").json
    assert (told["gives"], told["count"], told["before"]) == ("codes", len(ROWS), 0)
    anysize("run", saved / "sae", rows, "--out", tmp_path / "x.npy").refused("cannot write codes to")
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    anysize("run", saved / "embedder", "-").refused("standard input holds no text; expected one a line")


def test_vectors_of_another_width_are_refused(saved):
    with pytest.raises(DataError, match=rf"reads vectors of shape \(n, {WIDTH}\)"):
        az.run(saved / "embedder", ROWS)
