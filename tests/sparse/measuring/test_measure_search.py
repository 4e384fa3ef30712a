"""Sparse codes measured by search and by 1-NN classes, against plain computations over dense codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import anysize as az
from anysize.backbones.sentence import Encoder
from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.measure import measure
from anysize.sparse.autoencoder.model import SEARCHED
from anysize.sparse.rows.stored import is_held_out
from tests.conftest import sentences
from tests.sparse.making import LATENTS, WIDTH, inputs, random_sae

CORPUS, QUERIES = inputs(80, seed=3), inputs(12, seed=4)
IDS = [f"d{place}" for place in range(80)]


def judged() -> Data:
    """Each query's answers are two documents near it and one anywhere."""
    near = np.argsort(-(QUERIES @ CORPUS.T), axis=1)[:, :2]
    qrels = {f"q{row}": {f"d{near[row, 0]}": 2.0, f"d{near[row, 1]}": 1.0, f"d{row}": 1.0} for row in range(12)}
    queries = Items([f"q{row}" for row in range(12)], QUERIES, "vector")
    return Data("judged", "judged", Items(IDS, CORPUS, "vector"), queries, {"test": qrels})


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def plain_ndcg(corpus: np.ndarray, queries: np.ndarray, qrels) -> float:
    found = []
    for row, scores in enumerate(unit(queries.astype(np.float64)) @ unit(corpus.astype(np.float64)).T):
        gains = [qrels[f"q{row}"].get(IDS[place], 0.0) for place in np.argsort(-scores, kind="stable")[:10]]
        ideal = sorted(qrels[f"q{row}"].values(), reverse=True)
        found.append(
            sum(gain / np.log2(place + 2) for place, gain in enumerate(gains))
            / sum(gain / np.log2(place + 2) for place, gain in enumerate(ideal))
        )
    return float(np.mean(found))


@pytest.mark.parametrize("activation", ["topk", "batchtopk"])
def test_retrieval_by_codes_is_that_of_dense_ones_beside_vectors_of_as_many_dims(activation):
    nesting = Nesting(active=(2, 6, LATENTS)) if activation == "topk" else Nesting(latents=(20, LATENTS))
    sae, data = random_sae(activation, nesting), judged()
    found = measure(sae, data, by="sparse-retrieval")
    assert found.metric == "ndcg@10"
    assert found.meta["task"] == "retrieval by codes: 12 queries over 80 documents"
    assert found.arms == ("nested", "truncate", "pca", "original")
    by = {(one.arm, one.size): one for one in found.records}
    for size in nesting:
        codes, asked = (sae.at(size).encode_dense(part).numpy() for part in (CORPUS, QUERIES))
        one = by["nested", size]
        assert one.metrics["ndcg@10"] == pytest.approx(plain_ndcg(codes, asked, data.qrels["test"]))
        active = (codes > 0).sum(1).mean()
        assert one.bytes == round(active * 6)  # a float32 and a 16-bit index each
        assert one.metrics["l0"] == pytest.approx(active)
        dims = min(WIDTH, max(1, round(active)))
        cut = by["truncate", size]
        assert cut.bytes == 4 * dims
        wanted = plain_ndcg(CORPUS[:, :dims], QUERIES[:, :dims], data.qrels["test"])
        assert cut.metrics["ndcg@10"] == pytest.approx(wanted)
        turn = np.linalg.svd(unit(CORPUS.astype(np.float64)))[2][:dims].T
        wanted = plain_ndcg(CORPUS @ turn, QUERIES @ turn, data.qrels["test"])
        assert by["pca", size].metrics["ndcg@10"] == pytest.approx(wanted)
    equal = measure(sae, data, by="sparse-retrieval", arms=("truncate-bytes", "pca-bytes"))
    assert equal.arms == ("nested", "truncate-bytes", "pca-bytes", "original")
    for one in equal.arm("pca-bytes"):
        codes, asked = (sae.at(one.size).encode_dense(part).numpy() for part in (CORPUS, QUERIES))
        dims = min(WIDTH, round((codes > 0).sum(1).mean() * 6) // 4)
        assert one.bytes == 4 * dims
        turn = np.linalg.svd(unit(CORPUS.astype(np.float64)))[2][:dims].T
        wanted = plain_ndcg(CORPUS @ turn, QUERIES @ turn, data.qrels["test"])
        assert one.metrics["ndcg@10"] == pytest.approx(wanted)
    whole = by["original", Size(active=WIDTH) if activation == "topk" else nesting.full]
    assert whole.metrics["ndcg@10"] == pytest.approx(plain_ndcg(CORPUS, QUERIES, data.qrels["test"]))
    assert whole.bytes == 4 * WIDTH


def test_an_items_class_is_that_of_the_nearest_other_code():
    labels = [str(int(row.argmax()) % 4) for row in CORPUS]
    data = Data("labelled", "labelled", Items(IDS, CORPUS, "vector"), labels=labels)
    sae = random_sae("topk", Nesting(active=(2, 6)))
    sae.evaluators = SEARCHED
    found = measure(sae, data)
    assert found.metric == "1-nn accuracy"
    asked = is_held_out(np.arange(80), 80)
    codes = unit(sae.encode_dense(CORPUS).double().numpy())
    nearest = (codes[asked] @ codes[~asked].T).argmax(1)
    right = np.mean(np.array(labels)[~asked][nearest] == np.array(labels)[asked])
    assert found.full().metrics["1-nn accuracy"] == pytest.approx(right)
    assert f"of {asked.sum()} items by {(~asked).sum()} others" in found.meta["task"]
    assert {one.arm for one in found.records} == {"nested", "truncate", "pca", "original"}


def test_what_is_measured_is_the_methods_unless_asked_otherwise():
    data, sae = judged(), random_sae("topk", Nesting(active=(2, 6)))
    assert measure(sae, data).metric == "variance_explained"
    sae.evaluators = SEARCHED
    assert measure(sae, data).metric == "ndcg@10"
    assert measure(sae, data, by="reconstruction").metric == "variance_explained"
    with pytest.raises(AnysizeError, match="measure by sparse-retrieval or sparse-accuracy"):
        measure(sae, data, by="reconstruction", arms=("pca",))
    with pytest.raises(AnysizeError, match="not measured by 'retrieval'; expected one of sparse-retrieval"):
        measure(sae, data, by="retrieval")
    with pytest.raises(DataError, match="offers nothing"):
        measure(sae, data, by="sparse-accuracy")
    narrow = replace(data, corpus=Items(IDS, CORPUS[:, :5], "vector"))
    with pytest.raises(DataError, match="reads vectors of width 12"):
        measure(sae, narrow)
    texts = replace(data, corpus=Items(IDS, sentences(80)))
    with pytest.raises(DataError, match="fitted on vectors and knows of no encoder"):
        measure(sae, texts)


def test_a_code_without_an_active_latent_is_found_by_nobody():
    sae = random_sae("jumprelu", Nesting(latents=(LATENTS,)))
    sae.threshold.fill_(1e6)
    found = measure(sae, judged(), by="sparse-retrieval", arms=())
    assert found.full().bytes == 0
    assert 0 <= found.full().metrics["ndcg@10"] < 0.5  # every score is zero: documents in their own order


def test_texts_are_searched_through_the_encoder_of_the_fit(anysize, tmp_path: Path, encoder_path: Path):
    texts = sentences(120)
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    corpus = [json.dumps({"_id": f"d{row}", "text": text}) for row, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(corpus))
    asked = [" ".join(text.split()[:4]) for text in texts[:20]]
    queries = [json.dumps({"_id": f"q{row}", "text": text}) for row, text in enumerate(asked)]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    lines = ["query-id\tcorpus-id\tscore", *(f"q{row}\td{row}\t1" for row in range(20))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    words = ["fit", folder, "--method", "csr", "--model", encoder_path, "--latents", "64", "--active", "4,16"]
    assert anysize(*words, "--steps", "60", "--batch-size", "32", "--out", tmp_path / "codes").status == 0
    said = anysize("measure", tmp_path / "codes", folder, "--json")
    assert said.status == 0, said.err
    records = {(one["arm"], one["size"]["active"]): one for one in said.json["records"]}
    assert set(records) == {(arm, k) for arm in ("nested", "truncate", "pca") for k in (4, 16)} | {("original", 32)}
    vectors = [Encoder(str(encoder_path)).encode(part) for part in (texts, asked)]
    codes = [unit(az.load(tmp_path / "codes", active=16).encode_dense(part).double().numpy()) for part in vectors]
    rank = (codes[1] @ codes[0].T).argsort(1)[:, ::-1]
    hits = np.array([np.flatnonzero(rank[row] == row)[0] for row in range(20)])
    wanted = np.mean([1 / np.log2(hit + 2) if hit < 10 else 0 for hit in hits])
    assert records["nested", 16]["metrics"]["ndcg@10"] == pytest.approx(wanted)
    assert records["nested", 16]["metrics"]["recall@10"] == pytest.approx((hits < 10).mean())
    assert "ndcg@10" in anysize("measure", tmp_path / "codes", folder).out
    (tmp_path / "classes.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "label": text.split()[0][:2]}) for text in texts)
    )
    by_class = anysize("measure", tmp_path / "codes", tmp_path / "classes.jsonl", "--arms", "pca", "--json")
    assert by_class.json["metric"] == "1-nn accuracy"
    rebuilt = anysize("measure", tmp_path / "codes", folder, "--by", "reconstruction", "--json")
    assert rebuilt.json["metric"] == "variance_explained"


def test_that_codes_are_searched_is_saved_and_known_of_models_that_did_not_say_it(tmp_path: Path):
    sae = random_sae("topk", Nesting(active=(2, 6)))
    sae.save(tmp_path / "plain")
    assert az.load(tmp_path / "plain").evaluators == type(sae).evaluators
    sae.about = {"method": "csr"}  # as an earlier version left it
    sae.save(tmp_path / "old")
    assert "evaluators" not in sae.config()
    old = az.load(tmp_path / "old", active=2)
    assert old.evaluators == SEARCHED
    assert old.fingerprint == sae.fingerprint
    sae.evaluators = SEARCHED
    assert sae.at(active=2).extract().evaluators == SEARCHED
    sae.about = {}
    sae.save(tmp_path / "new")
    assert az.load(tmp_path / "new").evaluators == SEARCHED
    fitted = az.fit(
        Data("rows", "rows", Items(IDS, CORPUS, "vector")),
        method="csr",
        latents=(16,),
        active=(2,),
        steps=1,
        batch_size=8,
    )
    assert fitted.evaluators == SEARCHED
