"""Embeddings that outlive a process: found by the same model alone, never another's, and never altered ones."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from anysize.backbones.keeping.cache import VectorCache
from anysize.backbones.keeping.identity import PROBES, identity
from anysize.backbones.sentence import Encoder
from anysize.core.errors import AnysizeError
from tests.conftest import sentences, write_pairs


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """A cache of this test's own, turned on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ANYSIZE_CACHE_MB", "50")
    return tmp_path / "cache" / "anysize" / "vectors"


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The texts that went through any encoder, but for those by which one proves which it is."""
    found: list[str] = []
    real = Encoder.embed

    def embed(self, texts, *more, **options):
        found.extend(text for text in texts if text not in PROBES)
        return real(self, texts, *more, **options)

    monkeypatch.setattr(Encoder, "embed", embed)
    monkeypatch.setattr("anysize.core.verbs.measure.timed", lambda records, runs: records)
    return found


@pytest.mark.parametrize("precision", [[], ["--bf16"]], ids=["float32", "bfloat16"])
def test_measure_after_fit_embeds_nothing_again(precision, anysize, tmp_path, encoder_path, kept, asked):
    pairs = write_pairs(tmp_path / "pairs.jsonl", 60)
    words = ["fit", pairs, "--model", encoder_path, "--dims", "4,8", "--epochs", "1", "--out", tmp_path / "mine"]
    assert anysize(*words, *precision).status == 0
    lines = [json.loads(line) for line in pairs.read_text().splitlines()]
    fitted, asked[:] = set(asked), []
    assert fitted < {text for line in lines for text in line.values()}
    said = anysize("measure", tmp_path / "mine", pairs, "--json")
    assert said.status == 0, said.err
    held = {line["anchor"] for line in lines} - fitted
    assert held
    assert set(asked) >= held
    assert not set(asked) & fitted
    assert len(asked) == len(set(asked))  # for the rival by principal directions and for the search, once
    asked.clear()
    again = anysize("measure", tmp_path / "mine", pairs, "--json")
    assert not asked
    values = [[one["metrics"] for one in each.json["records"]] for each in (said, again)]
    for first, second in zip(*values, strict=True):
        assert first == pytest.approx(second, abs=1e-6)
    assert not list((tmp_path / "mine").rglob("*.npz"))


def test_an_index_holds_the_vectors_that_were_measured(tmp_path, encoder_path, kept, asked):
    from anysize import Index, fit

    texts = sentences(20)
    model = fit([{"text": text} for text in texts], model=str(encoder_path), dims=(4, 8), epochs=1, bf16=True)
    asked.clear()
    index = Index.build(tmp_path / "index", model, texts)
    assert not asked
    (hit,) = index.search(model.encode([texts[3]], side="document", bf16=True)[0], k=1).hits
    assert (hit.id, hit.score) == ("3", pytest.approx(1, abs=1e-6))


def test_codes_are_measured_on_the_embeddings_that_they_were_fitted_on(anysize, tmp_path, encoder_path, kept, asked):
    texts = sentences(40, 2)
    (tmp_path / "classes.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "label": text[:2]}) for text in texts), "utf-8"
    )
    data, codes = tmp_path / "classes.jsonl", tmp_path / "codes"
    words = ["fit", data, "--method", "csr", "--model", encoder_path, "--latents", "16", "--active", "2,4"]
    assert anysize(*words, "--steps", "2", "--batch-size", "16", "--out", codes).status == 0
    assert sorted(asked) == sorted(texts)
    asked.clear()
    for by in ("sparse-accuracy", "reconstruction"):
        assert anysize("measure", codes, data, "--by", by, "--arms", "", "--json").status == 0
    assert not asked


def test_it_can_be_turned_off(tmp_path, encoder, kept, asked, monkeypatch):
    monkeypatch.setenv("ANYSIZE_CACHE_MB", "0")
    for _ in range(2):
        encoder.keep_embeddings()
        encoder.encode(["ba"])
    assert asked == ["ba", "ba"]
    assert not kept.exists()
    monkeypatch.setenv("ANYSIZE_CACHE_MB", "much")
    with pytest.raises(AnysizeError, match="ANYSIZE_CACHE_MB is 'much'"):
        Encoder(encoder.name).keep_embeddings()


def kept_by(path) -> Encoder:
    encoder = Encoder(str(path))
    encoder.keep_embeddings()
    return encoder


def change(path: Path, name: str, **values) -> None:
    file = path / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


OTHERS = {
    "prompt": lambda path: change(
        path, "config_sentence_transformers.json", prompts={"query": "q: "}, default_prompt_name="query"
    ),
    "pooling": lambda path: change(path, "1_Pooling/config.json", pooling_mode="cls"),
    "shorter": lambda path: change(path, "sentence_bert_config.json", max_seq_length=4),
    "fewer-heads": lambda path: change(path, "config.json", num_attention_heads=1),
    "other-epsilon": lambda path: change(path, "config.json", layer_norm_eps=0.3),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_model_with_the_same_weights_is_another(other, tmp_path, encoder_path, kept, asked):
    texts = sentences(20)
    kept_by(encoder_path).encode(texts)
    shutil.copytree(encoder_path, tmp_path / "other")
    assert identity(Encoder(str(tmp_path / "other")).model) == identity(Encoder(str(encoder_path)).model)
    OTHERS[other](tmp_path / "other")
    found = kept_by(tmp_path / "other").encode(texts)
    assert np.array_equal(found, Encoder(str(tmp_path / "other")).encode(texts))
    assert asked == 3 * sorted(texts, key=lambda text: (-len(text), text))


def test_a_model_that_is_trained_on_is_another(encoder_path, kept):
    texts, encoder = sentences(8), kept_by(encoder_path)
    before = encoder.encode(texts)
    with torch.no_grad():
        next(encoder.model.parameters()).mul_(1.5)
    after = encoder.encode(texts)
    assert np.abs(after - before).max() > 1e-3
    encoder.keep_embeddings()
    assert np.array_equal(encoder.encode(texts), after)
    assert np.array_equal(kept_by(encoder_path).encode(texts), before)


def test_what_claims_to_be_this_model_and_gives_other_vectors_is_not_believed(encoder_path, kept, asked, monkeypatch):
    texts = sentences(8)
    kept_by(encoder_path).encode(texts)
    monkeypatch.setattr("anysize.backbones.sentence.identity", lambda model: next(kept.iterdir()).name)
    other = Encoder(str(encoder_path))
    with torch.no_grad():
        next(other.model.parameters()).mul_(1.5)
    asked.clear()
    other.keep_embeddings()
    other.encode(texts)
    assert sorted(asked) == sorted(texts)


def test_an_altered_file_is_dropped_and_made_anew(encoder_path, kept, asked):
    texts = sentences(8)
    before = kept_by(encoder_path).encode(texts)
    files = list(kept.rglob("*.npz"))
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    asked.clear()
    assert np.array_equal(kept_by(encoder_path).encode(texts), before)
    assert sorted(asked) == sorted(texts)
    asked.clear()
    assert np.array_equal(kept_by(encoder_path).encode(texts), before)
    assert not asked


def test_what_others_could_write_to_is_not_read(encoder_path, kept, asked):
    kept_by(encoder_path).encode(["ba"])
    next(kept.iterdir()).chmod(0o777)
    kept_by(encoder_path).encode(["ba"])
    assert asked == ["ba", "ba"]


def test_only_so_much_is_kept_and_what_was_used_last_stays(tmp_path):
    rows = np.ones((10, 100), np.float32)
    cache = VectorCache(tmp_path / "vectors" / "model", 3 * 5000)
    keys = [[bytes([place, number]) + bytes(14) for number in range(10)] for place in range(4)]
    for place in range(3):
        cache.add(keys[place], rows * place)
    assert all(cache.take(some) for some in keys[:3])
    for file in cache.folder.iterdir():
        os.utime(file, (1, 1))
    assert len(cache.take(keys[0])) == 10  # used last
    cache.add(keys[3], rows)
    assert [bool(cache.take(some)) for some in (keys[0], keys[3])] == [True, True]
    assert bool(cache.take(keys[1])) != bool(cache.take(keys[2]))
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.npz")) <= cache.limit
