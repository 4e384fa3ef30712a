from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from benchmarks.text.task_corpora import OWN, Corpora, accuracy, ndcg, unit

import anysize as az
from anysize.core.data.read import read
from anysize.text import Encoder
from recipes import jina_v3
from tests.conftest import WORDS, sentences, write_pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The four data sets in their layouts; labels are words that the texts hold."""
    root = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    for name in ("stsb", "banking77", "trec_questions"):
        (root / name).mkdir()
    for part, count in (("train", 80), ("dev", 20), ("test", 20)):
        rows = ["score\tsentence1\tsentence2"]
        for one in sentences(count, len(part)):
            kept = rng.randrange(6)
            other = " ".join([*one.split()[:kept], *sentences(1, rng.randrange(99))[0].split()[kept:]])
            rows.append(f"{kept}\t{one}\t{other}")
        (root / f"stsb/{part}.tsv").write_text("\n".join(rows) + "\n")
    for part, count in (("train", 90), ("test", 40)):
        labels = [place % 4 for place in range(count)]
        texts = [f"{WORDS[label]} {text}" for label, text in zip(labels, sentences(count, count), strict=True)]
        both = list(zip(labels, texts, strict=True))
        (root / f"banking77/{part}.csv").write_text("text,category\n" + "".join(f"{b},c{a}\n" for a, b in both))
        (root / f"trec_questions/{part}.tsv").write_text(
            "coarse\tfine\ttext\n" + "".join(f"C{a}\tfine\t{b}\n" for a, b in both)
        )
    write_pairs(root / "pairs.jsonl", count=120)
    return root


def test_nothing_that_is_measured_is_learnt_from(folder):
    pairs = read(folder / "pairs.jsonl").pairs
    for part in ("dev", "test"):
        corpora = Corpora(folder, 40, part, first=30, pairs=pairs)
        assert len(corpora.first) == 30
        assert len(corpora.learnt["retrieval"].pairs) == len(corpora.learnt["text-matching"].scored) == 40
        learnt = {*corpora.first["anchor"], *corpora.learnt["retrieval"].pairs["anchor"]}
        assert learnt.isdisjoint(corpora.queries)
        assert len(corpora.queries) == (15 if part == "dev" else 25)
        for task, rows in (("classification", corpora.intents), ("separation", corpora.questions)):
            assert {text for text, _ in rows}.isdisjoint(corpora.learnt[task].texts)
    assert set(Corpora(folder, 40, "dev", pairs=pairs).queries).isdisjoint(corpora.queries)


def test_metrics_by_hand():
    queries = np.eye(4, dtype=np.float32)
    answers = queries[[0, 1, 3, 2]]  # each of the last two finds the other's answer first, its own by a tie
    assert ndcg(queries, queries) == 1
    assert ndcg(queries[:2], np.array([[0, 1, 0, 0], [1, 0, 0, 0]], np.float32)) == pytest.approx(1 / np.log2(3))
    assert ndcg(queries, answers) < 1
    examples = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    rows = np.array([[1, 0.1], [0.1, 1], [0.9, 0.2]], np.float32)
    assert accuracy(examples, ["a", "a", "b"], rows, ["a", "b", "b"]) == pytest.approx(2 / 3)


def test_the_recipe_trains_both_stages_and_keeps_its_table(folder, encoder_path, tmp_path, capsys):
    words = ["--data", str(folder), "--out", str(tmp_path / "out"), "--model", str(encoder_path), "--dims", "8,32"]
    words += ["--pairs", str(folder / "pairs.jsonl"), "--rows", "40", "--first", "30", "--steps", "24"]
    words += ["--batch-size", "8", "--learning-rate", "0.02", "--instructions"]
    jina_v3.main(words)
    shown = capsys.readouterr().out
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores) == ["untouched base", "after the pairs", "its own adapter"]
    for found in scores.values():
        assert list(found) == list(OWN)
        assert all(list(at) == ["8", "32"] for at in found.values())
    assert f"{scores['its own adapter']['separation']['8']:8.3f}" in shown
    model = az.load(tmp_path / "out" / "model")
    assert model.about["base_losses"]
    assert scores["after the pairs"] != scores["untouched base"]
    # The table is the model's: here one cell of each arm, from the saved model itself.
    corpora = Corpora(folder, 40, "test", 30, read(folder / "pairs.jsonl").pairs)
    texts, labels = ([row[place] for row in corpora.intents] for place in (0, 1))
    examples, names = ([row[place] for row in corpora.examples] for place in (0, 1))
    base = Encoder(model.base())
    for arm, encode in (
        ("its own adapter", lambda rows: model.encode(rows, task="classification", truncate_dim=8)),
        ("after the pairs", lambda rows: unit(base.encode(rows), 8)),
    ):
        hits = accuracy(encode(examples), names, encode(texts), labels)
        assert scores[arm]["classification"]["8"] == pytest.approx(hits, abs=0.06)
    assert scores["its own adapter"] != scores["after the pairs"]
    jina_v3.main(words)  # a finished run trains nothing again
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == scores
