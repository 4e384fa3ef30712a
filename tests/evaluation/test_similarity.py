from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import anysize as az
from anysize.core.data.data import Data
from anysize.core.data.records import Items, Table
from anysize.core.errors import DataError
from anysize.core.registry import find
from anysize.core.sizes.nesting import Nesting
from anysize.evaluation.similarity import METRICS, SimilarityEvaluator, pair_similarities, similarity_metrics
from anysize.text.embedder.model import Embedder
from tests.conftest import WIDTH, sentences
from tests.evaluation.measured import measured

DIMS = (4, 16, WIDTH)


def scored(count: int = 40, seed: int = 0) -> Data:
    """Pairs that share some of their words; the score says how many, with noise."""
    rng = np.random.default_rng(seed)
    first, second, scores = sentences(count, seed), [], []
    for row, text in enumerate(first):
        kept = int(rng.integers(0, 7))
        second.append(" ".join([*text.split()[:kept], *sentences(1, seed=1000 + row)[0].split()[kept:]]))
        scores.append(float(np.round(kept + rng.standard_normal(), 1)))
    return Data("s", "f", table=Table({"sentence1": first, "sentence2": second, "score": scores}))


def views(model: Embedder) -> dict[str, list[Embedder]]:
    return {"nested": [model.at(size) for size in model.nesting]}


def arrays(count: int = 200, dims: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two arrays of embeddings that agree more or less, of various lengths, with equal pairs among them; scores."""
    rng = np.random.default_rng(0)
    left = rng.standard_normal((count, dims)) * rng.uniform(0.5, 4, (count, 1))
    apart = rng.uniform(0, 3, count)
    apart[:20] = 0
    right = (left + apart[:, None] * rng.standard_normal((count, dims))) * rng.uniform(0.5, 4, (count, 1))
    right[:20] = left[:20]
    return left.astype(np.float32), right.astype(np.float32), -apart + rng.standard_normal(count) / 3


def test_at_unit_length_cosine_dot_and_euclidean_rank_alike():
    found = similarity_metrics(*arrays())
    assert tuple(found) == METRICS
    assert found["spearman_dot"] == pytest.approx(found["spearman_cosine"], abs=1e-6)
    assert found["spearman_euclidean"] == pytest.approx(found["spearman_cosine"], abs=1e-6)
    assert found["pearson_dot"] == pytest.approx(found["pearson_cosine"], abs=1e-6)
    assert abs(found["pearson_euclidean"] - found["pearson_cosine"]) > 1e-3
    assert abs(found["spearman_manhattan"] - found["spearman_cosine"]) > 1e-4


def test_without_normalisation_all_four_differ_and_cosine_stays():
    cut, raw = similarity_metrics(*arrays()), similarity_metrics(*arrays(), normalize="none")
    for correlation in ("pearson", "spearman"):
        values = sorted(raw[f"{correlation}_{name}"] for name in ("cosine", "manhattan", "euclidean", "dot"))
        assert np.diff(values).min() > 1e-4
        assert raw[f"{correlation}_cosine"] == pytest.approx(cut[f"{correlation}_cosine"], abs=1e-12)
        assert raw[f"{correlation}_dot"] != pytest.approx(cut[f"{correlation}_dot"], abs=1e-3)


def test_metrics_agree_with_scipy_on_plainly_computed_similarities():
    left, right, gold = arrays()
    found = similarity_metrics(left, right, gold, normalize="none")
    for name, function in {
        "cosine": lambda u, v: u @ v / np.linalg.norm(u) / np.linalg.norm(v),
        "dot": lambda u, v: u @ v,
        "euclidean": lambda u, v: -np.sqrt(((u - v) ** 2).sum()),
        "manhattan": lambda u, v: -np.abs(u - v).sum(),
    }.items():
        plain = [round(float(function(u.astype(float), v.astype(float))), 11) for u, v in zip(left, right, strict=True)]
        assert found[f"pearson_{name}"] == pytest.approx(stats.pearsonr(plain, gold).statistic, abs=1e-9)
        assert found[f"spearman_{name}"] == pytest.approx(stats.spearmanr(plain, gold).statistic, abs=1e-9)


def test_equal_pairs_are_ties_and_rows_of_zeros_have_cosine_zero():
    left, _, _ = arrays()
    same = pair_similarities(left, left)
    assert (np.ptp(same["cosine"]), np.ptp(same["dot"])) == (0, 0)
    zeros = pair_similarities(np.zeros_like(left), left, normalize="none")
    assert not zeros["cosine"].any()


def test_correlations_that_do_not_exist_are_refused_in_one_sentence():
    left, right, gold = arrays()
    for arguments, why in (
        ((left, left, gold), "all 200 pairs have the same cosine similarity"),
        ((left, right, np.ones(200)), "200 scored pairs whose scores do not differ"),
        ((left[:1], right[:1], gold[:1]), "1 scored pairs"),
        ((left, right, gold[:5]), "5 scores for 200 pairs"),
        ((left, right[:5], gold), "two arrays of one shape"),
        ((left[:0], right[:0], []), "two arrays of one shape"),
    ):
        with pytest.raises(DataError, match=why) as refused:
            similarity_metrics(*arguments)
        assert "\n" not in str(refused.value)
    for wrong in (lambda: SimilarityEvaluator("yes"), lambda: pair_similarities(left, right, normalize="yes")):
        with pytest.raises(DataError, match="after_truncation or none"):
            wrong()


@pytest.mark.parametrize("normalize", ["after_truncation", "none"])
def test_the_evaluator_agrees_with_that_of_sentence_transformers(encoder, normalize, monkeypatch):
    """Both are given the same vectors, no two of whose similarities are so near that rounding could order them."""
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    rng = np.random.default_rng(5)
    first, second = sentences(40), sentences(40, seed=1)
    left = rng.standard_normal((40, WIDTH))
    right = left + rng.uniform(0.5, 3, (40, 1)) * rng.standard_normal((40, WIDTH))
    known = dict(zip([*first, *second], np.concatenate([left, right]).astype(np.float32), strict=True))
    data = Data(
        "s", "f", table=Table({"sentence1": first, "sentence2": second, "score": list(rng.standard_normal(40))})
    )

    def encode(texts, *, truncate_dim=None, **_):
        return np.stack([known[text][:truncate_dim] for text in texts])

    monkeypatch.setattr(encoder.model, "encode", encode)
    records = measured(
        SimilarityEvaluator(normalize), views(Embedder(Nesting(dims=DIMS), WIDTH, encoder=encoder)), data
    )
    assert [(record.arm, record.size.dims, record.bytes) for record in records] == [
        ("nested", dims, 4 * dims) for dims in DIMS
    ]
    # From the very same vectors, in double precision: which of two nearly equal similarities is larger would otherwise
    # depend on the processor that embeds and multiplies.
    texts = [*data.scored["sentence1"], *data.scored["sentence2"]]
    table = dict(zip(texts, encoder.encode(texts).astype(np.float64), strict=True))

    class Theirs(EmbeddingSimilarityEvaluator):
        def embed_inputs(self, model, sentences, **options):
            return np.stack([table[text][: self.truncate_dim] for text in sentences])

    names = ("cosine",) if normalize == "after_truncation" else ("cosine", "manhattan", "euclidean", "dot")
    for record in records:
        dims = record.size.dims
        alike = pair_similarities(left[:, :dims], right[:, :dims], normalize=normalize)
        for name in names:
            assert np.diff(np.sort(alike[name])).min() > 1e-5, (name, dims)
        theirs = EmbeddingSimilarityEvaluator(
            first, second, data.scored["score"], similarity_fn_names=list(names), truncate_dim=dims
        )(encoder.model)
        for name in names:
            for correlation in ("pearson", "spearman"):
                key = f"{correlation}_{name}"
                assert record.metrics[key] == pytest.approx(theirs[key], abs=1e-6), (key, dims)


def test_each_distinct_text_is_read_once_for_all_sizes_and_arms(encoder, monkeypatch):
    reached = []
    real = encoder.model.encode

    def spy(texts, **options):
        reached.extend(texts)
        return real(texts, **options)

    a, b, c, d = sentences(4)
    data = Data("s", "f", table=Table({"sentence1": [a, a, c], "sentence2": [b, c, d], "score": [1.0, 2.0, 0.0]}))
    model = Embedder(Nesting(dims=DIMS), WIDTH, encoder=encoder)
    monkeypatch.setattr(encoder.model, "encode", spy)
    measured(SimilarityEvaluator(), {"nested": views(model)["nested"], "other": views(model)["nested"]}, data)
    assert sorted(reached) == sorted([a, b, c, d])


def test_measure_takes_scored_pairs_and_holds_out_where_they_were_trained_on(encoder):
    data = scored(200)
    # A head that turns the coordinates round: its prefixes are not those of the untouched model, its full size is.
    turned = torch.eye(WIDTH).flip(0)
    model = Embedder(Nesting(dims=DIMS), WIDTH, encoder=encoder, weight=turned)
    frontier = az.measure(model, data, arms=["truncate"])
    assert frontier.metric == "spearman_cosine"
    assert frontier.meta["task"] == "similarity: 200 scored pairs"
    assert frontier.meta["normalize"] == "after_truncation"
    nested, cut, (original,) = (frontier.arm(name) for name in ("nested", "truncate", "original"))
    assert [record.size.dims for record in nested] == [record.size.dims for record in cut] == list(DIMS)
    assert nested[0].metrics != cut[0].metrics
    for record in (nested[-1], cut[-1]):
        assert record.metrics == pytest.approx(original.metrics, abs=1e-4)
    model.about = {"data": {"fingerprint": "f"}}
    left = 200 - len(data.training_scored())
    held = az.measure(model, data, arms=[])
    assert held.meta["task"] == f"similarity: {left} scored pairs held out from training"


def test_what_similarity_accepts():
    evaluator = find("evaluators", "similarity")()
    assert isinstance(evaluator, SimilarityEvaluator)
    assert evaluator.accepts(scored())
    texts = Data("t", "f", corpus=Items(["0"], ["a"]))
    assert not evaluator.accepts(texts)
    with pytest.raises(DataError, match="t holds no scored pairs"):
        measured(evaluator, {}, texts)
