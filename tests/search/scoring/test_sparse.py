"""An index of sparse codes: exact scores, the staged query, adding and deleting, and the bytes that it takes."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.sparse import csr_array

from anysize.core.errors import AnysizeError, CheckpointError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.search import Index, Stage
from anysize.search.store.sparse import prepared
from tests.search.helpers import vectors

LATENTS, ACTIVE, WIDTH = 64, 8, 24


@dataclass
class Codes:
    matrix: csr_array

    def to_scipy(self) -> csr_array:
        return self.matrix


@dataclass
class SparseModel:
    """The strongest of random directions; written apart from the library's own autoencoder."""

    active: int = ACTIVE
    nesting = Nesting(active=(4, ACTIVE))
    fingerprint = "a" * 64
    gives = "codes"
    tasks, task = (), None

    @property
    def code_shape(self) -> tuple[int, int]:
        return self.encode(np.zeros((1, WIDTH))).matrix.shape[1], self.active

    def features(self, rows: np.ndarray, *, side: str | None = None) -> np.ndarray:
        if not isinstance(rows, np.ndarray):
            raise DataError("this model reads vectors")
        return rows

    @property
    def size(self) -> Size:
        return Size(active=self.active)

    def at(self, size: Size) -> SparseModel:
        return SparseModel(size["active"])

    def dense(self, rows: np.ndarray) -> np.ndarray:
        directions = np.random.default_rng(5).standard_normal((WIDTH, LATENTS), np.float32)
        pre = np.maximum(np.asarray(rows, np.float32) @ directions, 0)
        last = np.sort(pre, axis=1)[:, -self.active, None]
        return np.where(pre >= last, pre, 0).astype(np.float32)

    def encode(self, rows: np.ndarray) -> Codes:
        return Codes(csr_array(self.dense(rows)))


@dataclass
class ReadsTexts(SparseModel):
    def features(self, texts: list[str] | np.ndarray, *, side: str | None = None) -> np.ndarray:
        if isinstance(texts, np.ndarray):
            return texts
        return np.stack([vectors(1, WIDTH, seed=len(text))[0] for text in texts])


def plain(corpus: np.ndarray, query: np.ndarray, metric: str = "cosine", active: int = ACTIVE) -> np.ndarray:
    """Scores of every row's dense code in float64, without any of the library's code."""
    rows, one = SparseModel().dense(corpus).astype(np.float64), SparseModel().dense(query[None])[0].astype(np.float64)
    one[np.argsort(-one, kind="stable")[active:]] = 0
    scores = rows @ one
    return scores if metric == "dot" else scores / (np.linalg.norm(rows, axis=1) * np.linalg.norm(one))


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("active", [3, ACTIVE])
def test_codes_alone_give_exact_sparse_scores(tmp_path, metric, active):
    corpus, query = vectors(500, WIDTH), vectors(1, WIDTH, seed=1)[0]
    index = Index.build(tmp_path / "idx", SparseModel(), corpus, metric=metric, vectors=False)
    found = index.search(query, k=20, stages=[Stage(active=active)])
    wanted = plain(corpus, query, metric, active)
    assert [int(hit.id) for hit in found.hits] == list(np.argsort(-wanted, kind="stable")[:20])
    np.testing.assert_allclose([hit.score for hit in found.hits], np.sort(wanted)[::-1][:20], rtol=1e-5)
    assert found.stages[0].scan == "sparse"
    # Each of the query's latents costs the rows in which it is active, and no other.
    held, one = SparseModel().dense(corpus) > 0, SparseModel().dense(query[None])[0]
    latents = np.argsort(-one, kind="stable")[:active]
    assert found.bytes_read == 8 * held[:, latents].sum()


def test_a_sparse_shortlist_is_rescored_with_the_true_vectors(tmp_path):
    corpus, query = vectors(3000, WIDTH), vectors(1, WIDTH, seed=1)[0]
    index = Index.build(tmp_path / "idx", SparseModel(), corpus)
    found = index.search(query, k=5, stages=f"active={ACTIVE}:40,dims={WIDTH}")
    shortlist = np.argsort(-plain(corpus, query), kind="stable")[:40]
    true = corpus @ query / np.linalg.norm(corpus, axis=1) / np.linalg.norm(query)
    best = shortlist[np.argsort(-true[shortlist])][:5]
    assert [int(hit.id) for hit in found.hits] == list(best)
    np.testing.assert_allclose([hit.score for hit in found.hits], true[best], rtol=1e-5)
    assert [(stage.size, stage.candidates, stage.kept) for stage in found.stages] == [
        (f"active={ACTIVE}", 3000, 40),
        (f"dims={WIDTH}", 40, 5),
    ]


@dataclass
class Halves(SparseModel):
    """The positive and the negative parts of the first `seen` coordinates: with all, what the vectors say."""

    seen: int = WIDTH

    def encode(self, rows: np.ndarray) -> Codes:
        halves = np.zeros((len(rows), 2 * WIDTH), np.float32)
        halves[:, : self.seen], halves[:, WIDTH : WIDTH + self.seen] = rows[:, : self.seen], -rows[:, : self.seen]
        return Codes(csr_array(np.maximum(halves, 0)))


def test_codes_shortlist_by_default_where_they_find_what_the_vectors_find(tmp_path):
    corpus, query = vectors(4200, WIDTH), vectors(1, WIDTH, seed=1)[0]
    true = corpus @ query / np.linalg.norm(corpus, axis=1) / np.linalg.norm(query)
    for seen, stages in ((WIDTH, [("active=8", 4200), ("dims=24", 100)]), (2, [("dims=24", 4200)])):
        found = Index.build(tmp_path / str(seen), Halves(seen=seen), corpus).search(query)
        assert [(stage.size, stage.candidates) for stage in found.stages] == stages
        assert [int(hit.id) for hit in found.hits] == np.argsort(-true)[:10].tolist()


def test_fewer_hits_are_the_first_of_more_also_among_equal_codes(tmp_path):
    rows, query = vectors(30, WIDTH), vectors(1, WIDTH, seed=1)[0]
    index = Index.build(tmp_path / "idx", Halves(), np.tile(rows, (10, 1)), vectors=False)
    halves, one = (Halves().encode(part).matrix.toarray() for part in (rows, query[None]))
    best = np.argsort(-(halves @ one[0]) / np.linalg.norm(halves, axis=1))
    wanted = [copy * 30 + int(row) for row in best for copy in range(10)]
    for k in (1, 7, 55, 120):
        assert [int(hit.id) for hit in index.search(query, k=k).hits] == wanted[:k]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_codes_of_any_magnitude_have_true_cosines(scale):
    rows = np.array([[3.0, 4.0], [4.0, 3.0]]) * scale
    assert prepared(csr_array(rows.astype(np.float32)), "cosine").toarray() == pytest.approx(rows / scale / 5)


@pytest.mark.parametrize("kept", [True, False])
def test_items_are_added_deleted_and_compacted(tmp_path, kept):
    corpus, query = vectors(400, WIDTH), vectors(1, WIDTH, seed=1)[0]
    index = Index.build(tmp_path / "idx", SparseModel(), corpus[:250], vectors=kept)
    index.add(corpus[250:])
    order = np.argsort(-plain(corpus, query), kind="stable")
    stages = [Stage(active=ACTIVE, keep=400), Stage(WIDTH)] if kept else [Stage(active=ACTIVE)]
    index.delete([str(order[0]), str(order[2])])
    for _ in range(2):
        found = [int(hit.id) for hit in index.search(query, k=398, stages=stages).hits]
        assert sorted(found) == sorted(set(range(400)) - {order[0], order[2]})
        if not kept:
            assert found[:3] == list(order[[1, 3, 4]])
        index.compact()
        index.verify()


def test_without_vectors_an_item_takes_the_bytes_of_its_code(tmp_path):
    corpus = vectors(1000, WIDTH)
    sizes = [
        Index.build(tmp_path / name, SparseModel(), corpus, vectors=name == "both").bytes for name in ("both", "codes")
    ]
    entries = int((SparseModel().dense(corpus) > 0).sum())
    ids = sum(len(str(row)) for row in range(1000)) + 4 * 1001
    assert sizes[1] == 8 * entries + 8 * (LATENTS + 1) + ids
    assert sizes[0] - sizes[1] == 4 * 1000 * (WIDTH + 1)


def test_texts_are_read_through_the_models_own_features(tmp_path):
    texts = ["a" * length for length in range(1, 60)]
    index = Index.build(tmp_path / "idx", ReadsTexts(), texts, vectors=False)
    assert index.search("b" * 17, k=1).hits[0].text == "a" * 17
    with pytest.raises(DataError, match="reads vectors"):
        Index.build(tmp_path / "other", SparseModel(), texts)


def test_an_index_opens_again_and_an_altered_file_is_found(tmp_path):
    corpus, query = vectors(300, WIDTH), vectors(1, WIDTH, seed=1)[0]
    Index.build(tmp_path / "idx", SparseModel(), corpus)
    index = Index.open(tmp_path / "idx", model=SparseModel(4))  # the view at the index's own size is taken
    best = int(index.search(query, k=1, stages="active=8:1,dims=24").hits[0].id)
    assert best == np.argmax(plain(corpus, query))
    index.verify()
    file = next((tmp_path / "idx").rglob("codes.values"))
    content = bytearray(file.read_bytes())
    content[10] ^= 255
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"codes\.values was altered"):
        index.verify()
    file.write_bytes(content[:-4])
    with pytest.raises(CheckpointError, match="cut short"):
        Index.open(tmp_path / "idx")


def test_stages_that_cannot_run_are_refused(tmp_path):
    corpus, query = vectors(300, WIDTH), vectors(1, WIDTH, seed=1)[0]
    both = Index.build(tmp_path / "both", SparseModel(), corpus)
    for stages, words in (
        ("active=9:20,dims=24", "up to 8 active"),
        ("dims=24:20,active=8", "and first"),
        ("active=8", "true"),
        ("active=8,dims=24", "write active=8:200"),
    ):
        with pytest.raises(AnysizeError, match=words):
            both.search(query, stages=stages)
    codes = Index.build(tmp_path / "codes", SparseModel(), corpus, vectors=False)
    with pytest.raises(AnysizeError, match="only stage"):
        codes.search(query, stages="active=8:20,dims=24")
    dense = Index.build(tmp_path / "dense", None, corpus)
    with pytest.raises(AnysizeError, match="no sparse codes"):
        dense.search(query, stages="active=8:20,dims=24")
    with pytest.raises(AnysizeError, match="nothing would be kept"):
        Index.build(tmp_path / "none", None, corpus, vectors=False)
    with pytest.raises(AnysizeError, match="vectors, so they must be kept"):
        Index.build(tmp_path / "none", SparseModel(), corpus, vectors=False, hnsw=True)
    with pytest.raises(SizeError, match="give one of the two"):
        Stage(24, active=8)
    codes = Index.open(codes.path, model=SilentModel())
    with pytest.raises(DataError, match="no latent is active"):
        codes.search(query)


class SilentModel(SparseModel):
    def encode(self, rows: np.ndarray) -> Codes:
        return Codes(csr_array((len(rows), LATENTS), dtype=np.float32))


def test_an_index_from_before_there_were_sparse_codes_still_opens(tmp_path):
    import hashlib

    corpus = vectors(50, WIDTH)
    Index.build(tmp_path / "idx", None, corpus)
    path = tmp_path / "idx" / "index.json"
    value = json.loads(path.read_text())
    del value["sparse"], value["sha256"]
    value["sha256"] = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(value))
    assert Index.open(tmp_path / "idx").search(corpus[7], k=1).hits[0].id == "7"
