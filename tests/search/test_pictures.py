"""An index of texts beside pictures: what is found, at the sizes of either side, against vectors scored by hand."""

import json

import numpy as np
import pytest

import anysize as az
from anysize.backbones.vision.llava import VisionLanguage
from anysize.cli.main import run
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.search import Index
from anysize.tokens.retrieval.model import Interleaved
from tests.search.helpers import HashModel
from tests.tiny_vlm import drawn, tiny_llava

WORDS = ("red", "green", "blue", "one", "two")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """``finder``, a saved model, and pictures."""
    folder = tmp_path_factory.mktemp("shop")
    model = Interleaved(Nesting(tokens=(1, 4, 16)), VisionLanguage(*tiny_llava()), {"kind": "pool", "mode": "avg"})
    model.eval().save(folder / "finder")
    for place, one in enumerate(drawn(12)):
        one.save(folder / f"{place}.png")
    return folder


def documents(folder):
    return [[{"text": WORDS[place % 5]}, {"image": folder / f"{place}.png"}] for place in range(12)]


def by_hand(folder, query, *, asked, stored):
    """(id, cosine) of all documents, best first."""
    model = az.load(folder / "finder")
    scores = (model.at(asked).encode([query]) @ model.at(stored).encode(documents(folder)).T)[0]
    return [(f"d{row}", pytest.approx(float(scores[row]), abs=1e-5)) for row in np.argsort(-scores)]


def pairs(results):
    return [(hit.id, hit.score) for hit in results.hits]


@pytest.fixture(scope="module")
def index(shop):
    items = Items([f"d{row}" for row in range(12)], documents(shop), "parts")
    return Index.build(shop / "idx", shop / "finder", items)


@pytest.mark.parametrize("asked", [None, "tokens=4", Size(tokens=1)], ids=["own", "four", "one"])
def test_a_query_of_words_and_a_picture_is_scored_at_its_own_size(shop, index, asked):
    query = [{"text": "green"}, {"image": shop / "3.png"}]
    expected = by_hand(shop, query, asked=asked or "tokens=16", stored="tokens=16")
    assert pairs(index.search(query, k=12, size=asked)) == expected
    assert pairs(Index.open(shop / "idx").search(query, k=12, size=asked)) == expected
    given = az.load(shop / "finder")
    assert pairs(Index.open(shop / "idx", given).search(query, k=12, size=asked)) == expected


def test_an_index_at_few_tokens_is_asked_at_more(shop, tmp_path):
    small = az.load(shop / "finder", "tokens=1")
    items = Items([f"d{row}" for row in range(12)], documents(shop), "parts")
    Index.build(tmp_path / "idx", small, items, model_path=shop / "finder")
    query = [{"image": shop / "5.png"}]
    found = Index.open(tmp_path / "idx").search(query, k=12, size="tokens=16")
    assert pairs(found) == by_hand(shop, query, asked="tokens=16", stored="tokens=1")


def test_texts_and_parts_are_asked_together_and_hits_say_what_they_are(shop, index):
    query = [{"image": shop / "5.png"}, {"text": "two"}]
    answers = index.search_many(["red", query], k=12, size="tokens=4")
    assert [pairs(one) for one in answers] == [
        by_hand(shop, one, asked="tokens=4", stored="tokens=16") for one in ("red", query)
    ]
    assert {hit.id: hit.text for hit in answers[0].hits}["d3"] == "one [3.png]"


def test_lists_of_parts_and_pictures_alone_are_added(shop, tmp_path):
    index = Index.build(tmp_path / "idx", shop / "finder", documents(shop)[:4])
    index.add(Items(["p"], [shop / "9.png"], "image"))
    index.upsert([[{"text": "two"}]], ids=["p2"])
    model = az.load(shop / "finder")
    stored = model.encode([*documents(shop)[:4], shop / "9.png", "two"])
    scores = (model.encode(["red"]) @ stored.T)[0]
    names = ["0", "1", "2", "3", "p", "p2"]
    assert pairs(index.search("red")) == [
        (names[row], pytest.approx(float(scores[row]), abs=1e-5)) for row in np.argsort(-scores)
    ]
    assert {hit.id: hit.text for hit in index.search("red").hits}["p"] == "[9.png]"


def test_what_a_model_cannot_do_is_refused(shop, index, tmp_path):
    texts = Index.build(tmp_path / "texts", HashModel(), ["red", "blue"])
    with pytest.raises(AnysizeError, match="does not read texts beside pictures"):
        texts.search([{"text": "red"}, {"image": shop / "0.png"}])
    with pytest.raises(AnysizeError, match=r"compare at one size alone, and .* was built at dims=32"):
        texts.search("red", size="dims=8")
    with pytest.raises(AnysizeError, match="does not read texts beside pictures"):
        Index.build(tmp_path / "other", HashModel(), documents(shop))
    with pytest.raises(DataError, match=r"document 1 \(from 0\) is no list of parts"):
        Index.build(tmp_path / "other", shop / "finder", [documents(shop)[0], "red"])
    with pytest.raises(DataError, match=r"query 0 .* is empty"):
        index.search_many([[{"text": " "}]])
    with pytest.raises(DataError, match="not there"):
        index.search([{"image": shop / "no.png"}])
    with pytest.raises(SizeError, match="trained for tokens 1, 4, 16"):
        index.search("red", size="tokens=5")
    vectors = Index.build(tmp_path / "vectors", None, np.eye(4, dtype=np.float32))
    with pytest.raises(AnysizeError, match="built from vectors"):
        vectors.search(np.eye(4, dtype=np.float32)[0], size="dims=4")


def test_the_command_line_takes_words_and_pictures_in_order(shop, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(shop)
    rows = [{"_id": f"d{row}", "parts": [{"text": WORDS[row % 5]}, {"image": f"{row}.png"}]} for row in range(12)]
    (shop / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run(["index", "finder", ".", "--out", str(tmp_path / "idx")]) == 0
    capsys.readouterr()

    def found(*words):
        assert run(["search", str(tmp_path / "idx"), *words, "--json", "-k", "12"]) == 0
        return [(hit["id"], hit["score"]) for hit in json.loads(capsys.readouterr().out)["hits"]]

    both = [{"text": "green"}, {"image": shop / "7.png"}]
    assert found("green", "7.png", "--size", "tokens=4") == by_hand(shop, both, asked="tokens=4", stored="tokens=16")
    assert found("7.png") == by_hand(shop, [both[1]], asked="tokens=16", stored="tokens=16")
    assert found("green") == by_hand(shop, "green", asked="tokens=16", stored="tokens=16")
    asked = [{"_id": "both", "parts": [{"text": "green"}, {"image": "7.png"}]}, {"_id": "one", "text": "green"}]
    (shop / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    assert run(["search", str(tmp_path / "idx"), "--queries", "queries.jsonl", "--size", "tokens=4", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["query_id"], line["query"]) for line in lines] == [("both", "green [7.png]"), ("one", "green")]
    for line, query in zip(lines, (both, "green"), strict=True):
        best = [(hit["id"], hit["score"]) for hit in line["hits"]]
        assert best == by_hand(shop, query, asked="tokens=4", stored="tokens=16")[:10]
    for words, said in (
        (("green", "blue"), "none of these 2 is a picture"),
        (("green", "no.png"), "no.png does not exist"),
        (("green", "--size", "dims=3"), "tokens"),
    ):
        assert run(["search", str(tmp_path / "idx"), *words]) == 2
        assert said in capsys.readouterr().err
