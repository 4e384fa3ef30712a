"""Judgements count as trec_eval counts them: against its own code (pytrec_eval), on random judgements and rankings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Items
from anysize.evaluation.ranking import evaluate_each

pytrec_eval = pytest.importorskip("pytrec_eval")

NAMES = {
    "ndcg@5": "ndcg_cut_5", "ndcg@10": "ndcg_cut_10", "map@10": "map_cut_10", "map@100": "map_cut_100",
    "recall@5": "recall_5", "recall@100": "recall_100", "precision@5": "P_5", "mrr@100": "recip_rank",
}  # fmt: skip
DOCUMENTS = [f"d{row:02}" for row in range(30)]


def by_trec_eval(qrels, ranked) -> dict[str, dict[str, float]]:
    """Scores fall with the place, so there are no ties to order by id. (pytrec_eval crashes on grades below -1.)"""
    grades = {query: {name: int(grade) for name, grade in found.items()} for query, found in qrels.items()}
    run = {query: {name: float(-place) for place, name in enumerate(order)} for query, order in ranked.items()}
    return pytrec_eval.RelevanceEvaluator(grades, set(NAMES.values())).evaluate(run)


grades = st.dictionaries(st.sampled_from([*DOCUMENTS, "gone", "lost"]), st.integers(-1, 4), min_size=1, max_size=12)


@given(qrels=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), grades, min_size=1), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_every_metric_is_that_of_trec_eval(qrels, seed):
    ids = ["a", "b", "c", "d", "unjudged"]
    data = Data(
        "j", "f", Items(DOCUMENTS, ["x"] * 30), Items(ids, ids),
        {"test": {query: {name: float(grade) for name, grade in found.items()} for query, found in qrels.items()}},
        identical="keep",
    )  # fmt: skip
    task = data.retrieval()
    if task is None:
        assert not any(grade > 0 for found in qrels.values() for grade in found.values())
        return
    rng = np.random.default_rng(seed)
    ranked = np.stack([rng.permutation(30)[:20] for _ in task.queries.ids])
    found = evaluate_each(task, ranked, tuple(NAMES))
    named = {
        query: [DOCUMENTS[place] for place in order] for query, order in zip(task.queries.ids, ranked, strict=True)
    }
    expected = by_trec_eval(qrels, named)
    assert sorted(expected) == sorted(task.queries.ids)
    for ours, theirs in NAMES.items():
        values = [expected[query][theirs] for query in task.queries.ids]
        np.testing.assert_allclose(found[ours], values, atol=1e-6, err_msg=ours)  # trec_eval computes in float


def test_absent_relevant_documents_stay_in_the_ideal_ranking(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}\n{"_id": "e", "text": "y"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "w"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t2\nq\tgone\t3\nstrange\td\t1\n")
    data = read(tmp_path)
    found = evaluate_each(data.judged(), np.array([[1, 0]]), ("ndcg@10", "recall@10"))
    best = 3 + 2 / np.log2(3)
    assert found["ndcg@10"][0] == pytest.approx((2 / np.log2(3)) / best)
    assert found["recall@10"][0] == 0.5
    assert any("1 of 3 judgements" in note and "not in the corpus" in note for note in data.notes)
    assert any("1 of 3 judgements" in note and "unknown query" in note for note in data.notes)


def test_a_query_without_a_relevant_document_scores_zero_and_is_told(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "w"}\n{"_id": "r", "text": "v"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\nr\td\t0\nq\td\t0\n")
    data = read(tmp_path)
    assert evaluate_each(data.judged(), np.array([[0], [0]]))["ndcg@10"].tolist() == [1.0, 0.0]
    assert any("1 of 2 queries judged" in note and "score 0" in note for note in data.notes)
    assert any("judge a document again; the highest grade holds" in note for note in data.notes)
