"""What Python shows of objects: short, quick, and also where something is amiss."""

from __future__ import annotations

import pytest

from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.record import Record
from anysize.core.shortly import bytes_in_words, shortly, sizes
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.fit import fit
from tests.conftest import spread_vectors


@pytest.fixture(scope="module")
def model():
    return fit(spread_vectors(64), method="mrl", dims=(4, 8), epochs=1, batch_size=64)


def test_a_model_says_its_sizes_bytes_and_how_it_was_made(model):
    held = sum(one.numel() * one.element_size() for one in model.state_dict().values())
    assert repr(model).startswith(f"Embedder(dims=4,8; {bytes_in_words(held)} of weights; mrl on ")
    assert "\n" not in repr(model)
    assert "; at dims=4; " in repr(model.at(dims=4))
    model.about, about = {"options": {"model": "base"}, "method": "mrl"}, model.about
    assert repr(model).endswith("; mrl from base)")
    model.about = about


def test_half_made_and_damaged_objects_are_shown_too(model):
    assert repr(type(model).__new__(type(model))) == "Embedder(not whole)"
    damaged = model.at()
    damaged.about = None
    assert repr(damaged) == "Embedder(not whole)"
    assert repr(Frontier.__new__(Frontier)) == "Frontier(not whole)"


def test_a_frontier_names_its_metric_arms_and_span():
    records = [Record(Size(dims=d), arm, {"ndcg@10": d / 99}, 4 * d) for d in (16, 8) for arm in ("nested", "pca")]
    frontier = Frontier(tuple(records), "ndcg@10", {"model": "mini", "data": "docs"})
    assert repr(frontier) == "Frontier(ndcg@10 of nested, pca at 2 sizes, dims=8 to dims=16 of mini on docs)"


def test_an_index_says_what_it_holds(tmp_path):
    pytest.importorskip("faiss")
    from anysize.search import Index

    index = Index.build(tmp_path / "i", None, spread_vectors(50), block=16, nesting=Nesting(dims=(8, 32)))
    assert repr(index) == (
        f"Index({tmp_path / 'i'}: 50 items, dims=8,32, cosine, {bytes_in_words(index.bytes)}, "
        "vectors as they were given)"
    )
    assert index.bytes >= 50 * 32 * 4


def test_long_things_are_cut():
    class Long:
        __repr__ = shortly(lambda self: "word " * 99)

    assert len(repr(Long())) < 180
    assert sizes(Nesting(dims=tuple(range(1, 25)))) == "dims=1,2,...,24 (24)"
    assert sizes(Nesting.pairs([Size(layers=2, dims=24), Size(layers=4, dims=96)])) == "layers=2,4 dims=24,96"
    for count, words in ((0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (12_345, "12.3 kB"), (4.56e9, "4.56 GB")):
        assert bytes_in_words(int(count)) == words
    assert bytes_in_words(5_678_000_000_000) == "5,678 GB"
