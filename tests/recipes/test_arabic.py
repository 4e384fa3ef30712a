from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from benchmarks.pages import OUTCOMES
from recipes.arabic_data import AS_WRITTEN, load

from anysize.backbones.sentence import Encoder
from anysize.core.data.read import read
from anysize.text.arabic.normalizer import ArabicNormalizer
from recipes import arabic, arabic_bases
from tests.conftest import WIDTH, WORDS

LETTERS = "بتثجحخدرزسشصطعغفقكلمنهوي"


def word(latin: str) -> str:
    """An Arabic-looking word for each Latin one, some with marks that normalising takes away."""
    rng = random.Random(latin)
    spelt = "".join(rng.choice(LETTERS) for _ in range(4))
    return "أ" + spelt + rng.choice(["", "\u064e", "\u0640"])


def translate(text: str) -> str:
    return " ".join(map(word, text.split()))


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """Pairs that share more words the higher their score; the label follows from it."""
    rng = random.Random(seed)
    made = []
    for place in range(count):
        first = [rng.choice(WORDS) for _ in range(5)]
        kept = place % 6
        second = first[:kept] + [rng.choice(WORDS) for _ in range(5 - kept)]
        made.append(
            {
                "premise": translate(" ".join(first)),
                "hypothesis": translate(" ".join(second)),
                "label": "1" if kept >= 4 else "2" if kept == 3 else "0",
                "relatedness_score": str(1 + 0.8 * kept),
                "premise_en": " ".join(first),
                "hypothesis_en": " ".join(second),
            }
        )
    return made


def write(file: Path, found: list[dict[str, str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(found[0]), *("\t".join(row.values()) for row in found)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    train, test = rows(180, 0), rows(60, 1)
    write(root / "arabic_nli" / "arnli_train.tsv", [*train, *test[:6]])
    write(root / "arabic_nli" / "arnli_valid.tsv", rows(30, 2))
    write(root / "arabic_nli" / "arnli_test.tsv", test)
    write(root / "arabic_nli" / "arbteds_train.tsv", rows(20, 3))
    for name, side in (("ar-ar", "hypothesis"), ("ar-en", "hypothesis_en")):
        pairs = [
            {"score": row["relatedness_score"], "sentence1": row["premise"], "sentence2": row[side]}
            for row in rows(60, 4)
        ]
        write(root / "sts17" / f"{name}.tsv", pairs)
    return root


def test_nothing_that_is_tested_on_is_learnt_from(folder):
    corpus = load(folder, ArabicNormalizer())
    tests = corpus.tests["relatedness, test"].scored
    learnt = {*(text for column in corpus.triplets.columns for text in column), *dict(corpus.parallel)}
    assert learnt.isdisjoint([*tests["sentence1"], *tests["sentence2"]])
    assert corpus.dropped["shares a sentence with the test rows"] == 6
    # Six rows in a cycle: two entail, of which one has both sides equal.
    assert (len(corpus.triplets), corpus.dropped["equal texts"]) == (30, 30)


def test_every_side_is_normalised_alike(folder):
    corpus, raw = load(folder, ArabicNormalizer()), load(folder, AS_WRITTEN)
    for one, other in (
        (corpus.tests["STS17 ar-ar"].scored["sentence1"], raw.tests["STS17 ar-ar"].scored["sentence1"]),
        (corpus.valid.scored["sentence2"], raw.valid.scored["sentence2"]),
        (corpus.unlabelled, raw.unlabelled),
    ):
        assert one == ArabicNormalizer()(other)
        assert one != other
    assert raw.tests["STS17 ar-ar"].scored["sentence1"] == read(folder / "sts17" / "ar-ar.tsv").scored["sentence1"]


def test_a_contradiction_is_the_negative_of_both_its_sides(folder):
    corpus = load(folder, AS_WRITTEN)
    made = rows(180, 0)
    entailed = [row for row in made if row["label"] == "1" and row["premise"] != row["hypothesis"]]
    assert corpus.triplets["anchor"] == [row["premise"] for row in entailed]
    against = {row["premise"]: row["hypothesis"] for row in made if row["label"] == "2"}
    write_back = {**against, **{value: key for key, value in against.items()}}
    drawn = {row["hypothesis"] for row in made}
    for anchor, negative in zip(corpus.triplets["anchor"], corpus.triplets["negative"], strict=True):
        assert negative in ([write_back[anchor]] if anchor in write_back else drawn)


def test_a_student_gives_translations_the_vectors_of_its_teacher(folder, encoder):
    corpus = load(folder, ArabicNormalizer())
    student = Encoder(arabic_bases.bilingual(corpus, 0, encoder, epochs=400))
    given, source = zip(*corpus.parallel[:40], strict=True)
    teacher, arabic_side, english = encoder.encode(source), student.encode(given), student.encode(source)
    assert student.dimension == WIDTH
    for side in (arabic_side, english):
        own = np.square(side - teacher).sum(axis=1).mean()
        others = np.square(side - np.roll(teacher, 1, axis=0)).sum(axis=1).mean()
        assert own < 0.8 * others


def test_the_recipe_writes_its_table(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(arabic, "SIZES", (16, 32))
    monkeypatch.setattr(arabic_bases, "WIDTH", 64)
    words = ["--data", str(folder), "--bases", "scratch", "--seeds", "2", "--epochs", "2", "--batch-size", "8"]
    words += ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path)]
    arabic.main(words)
    row = json.loads((tmp_path / "arabic-similarity.json").read_text())
    (tmp_path / "arabic-similarity.json").unlink()
    monkeypatch.setattr(arabic, "one", None)  # a finished run computes nothing again
    arabic.main(words)
    assert json.loads((tmp_path / "arabic-similarity.json").read_text())["values"] == row["values"]
    assert row["command"] == "python -m recipes.arabic --data DATA_DIR --bases scratch --epochs 2.0 --batch-size 8"
    assert row["outcome"] in OUTCOMES
    native = row["values"]["scratch base, STS17 ar-ar"]
    assert len(native) == 8
    sizes = ["dims=16", "dims=32", "dims=64"]
    for arms in native.values():
        assert list(arms) == ["untouched, cut", "plain, cut", "plain, PCA", "nested", "one size each"]
        for found in arms.values():
            assert list(found) == sizes
            assert all(len(figures) == 2 for figures in found.values())
    cosine = native["spearman_cosine"]
    # Rotated at full size is the same model, and so is the one that was trained for the full size alone.
    assert cosine["plain, PCA"]["dims=64"] == pytest.approx(cosine["plain, cut"]["dims=64"], abs=1e-3)
    assert cosine["one size each"]["dims=64"] == cosine["plain, cut"]["dims=64"]
    assert native["spearman_dot"] != cosine
    gain = row["values"]["nested minus untouched, spearman_cosine"]["scratch base, STS17 ar-ar, dims=64"]
    for difference, low, high, nested, base in zip(
        *gain.values(), cosine["nested"]["dims=64"], cosine["untouched, cut"]["dims=64"], strict=True
    ):
        assert low < difference < high
        assert difference == pytest.approx(nested - base, abs=1e-3)
    assert row["values"]["tokens of STS17 ar-ar"]["scratch"]["unknown_rate"][0] < 0.1
    assert "spearman_cosine" in capsys.readouterr().out


def test_the_recipe_tunes_a_given_base(folder, tmp_path, monkeypatch):
    corpus = load(folder, ArabicNormalizer())
    model = arabic_bases.static([text for text, _ in corpus.parallel], 64, seed=0)
    model.save(str(tmp_path / "base"), create_model_card=False)
    words = ["--data", str(folder), "--model", str(tmp_path / "base"), "--seeds", "1", "--batch-size", "8"]
    arabic.main([*words, "--learning-rate", "0.01", "--results", str(tmp_path / "rows")])
    row = json.loads((tmp_path / "rows" / "arabic-similarity.json").read_text())
    assert list(row["values"]["given base, STS17 ar-ar"]["pearson_cosine"]["nested"]) == ["dims=32", "dims=64"]
    assert f"--model {tmp_path / 'base'}" in row["command"]
