"""Searches over HTTP find what `Index.search` finds; a new generation takes the old one's place under load."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from anysize.search import Index
from anysize.serve.held.house import House
from anysize.serve.held.settings import Settings
from tests.conftest import sentences
from tests.serve.conftest import running

TEXTS = sentences(60)


@pytest.fixture(scope="module")
def folder(kinds, tmp_path_factory):
    home = tmp_path_factory.mktemp("served")
    kinds("embedder").save(home / "mine")
    Index.build(home / "idx", str(home / "mine"), TEXTS)
    Index.build(home / "rows", None, np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32))
    return home


@pytest.fixture(scope="module")
def client(folder):
    house = House(Settings(watch=0.05))
    house.open(str(folder / "idx"))  # brings its model with it
    house.open(f"numbers={folder / 'rows'}")
    with running(house) as found:
        yield found


def test_texts_find_what_the_library_finds(client, folder):
    own = Index.open(folder / "idx")
    for stages in (None, "dims=4:20,dims=16"):
        expected = own.search(TEXTS[7], k=5, stages=stages)
        found = client.ask("/search", {"index": "idx", "query": TEXTS[7], "k": 5, "stages": stages}).json
        assert [(hit["id"], hit["text"]) for hit in found["hits"]] == [(hit.id, hit.text) for hit in expected.hits]
        assert found["stages"] == json.loads(json.dumps(expected.to_json()["stages"]))
        assert found["bytes_read"] == expected.bytes_read
        assert (found["index"], found["generation"]) == ("idx", 1)
    body = {"index": "idx", "queries": TEXTS[:3], "k": 1, "with_text": False, "stages": [{"dims": 16}]}
    many = client.ask("/search", body).json["data"]
    assert [one["hits"] for one in many] == [[{"id": str(row), "score": pytest.approx(1)}] for row in range(3)]


def test_vectors_find_too(client, folder):
    own, query = Index.open(folder / "rows"), np.arange(8.0)
    found = client.ask("/search", {"index": "numbers", "vector": query.tolist(), "k": 3}).json
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in own.search(query, k=3).hits]


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        ({"query": "a"}, 400, "missing", ("idx, numbers",)),
        ({"index": "nope", "query": "a"}, 404, "index_not_found", ("nope",)),
        ({"index": "idx"}, 400, "missing", ("one of query",)),
        ({"index": "idx", "query": "a", "vector": [1]}, 400, "missing", ()),
        ({"index": "idx", "query": " "}, 400, "empty_input", ()),
        ({"index": "idx", "query": "a", "k": 0}, 400, "wrong_value", ("1 to 1000",)),
        ({"index": "idx", "query": "a", "stages": "dims=5:20,dims=16"}, 400, "size_not_trained", ("4, 16", "5")),
        ({"index": "idx", "query": "a", "stages": "nonsense"}, 400, "bad_stages", ("nonsense",)),
        ({"index": "idx", "query": "a", "stages": [{"dim": 16}]}, 400, "bad_stages", ()),
        ({"index": "idx", "vector": [1.0, 2.0]}, 400, "size_not_trained", ("2 coordinates", "16")),
        ({"index": "numbers", "vector": [0.0] * 8}, 400, "bad_input", ("zeros",)),
        ({"index": "numbers", "vector": ["a"] * 8}, 400, "bad_vector", ()),
        ({"index": "numbers", "query": "a"}, 400, "bad_input", ("numbers was built from vectors",)),
        ({"index": "idx", "queries": ["a"] * 129}, 413, "too_many_texts", ("128",)),
        ({"index": "idx", "query": "a", "filter": {}}, 400, "unknown_field", ("filter",)),
    ],
)
def test_what_is_wrong_is_said(client, folder, body, status, code, words):
    answer = client.ask("/search", body)
    answer.refused(status, code, *words)
    assert str(folder) not in answer.content.decode()  # where things lie is nobody's business


def test_the_indexes_and_the_model_that_one_brought(client):
    found = {one["id"]: one for one in client.ask("/indexes").json["data"]}
    assert (found["idx"]["model"], found["idx"]["items"]) == ("mine", 60)
    assert found["numbers"]["model"] is None
    assert client.ask("/v1/embeddings", {"model": "mine", "input": "a", "dimensions": 4}).status == 200


def test_new_generations_under_load_fail_no_search_and_mix_in_none(client, folder, kinds):
    """Generation g holds the texts of before and g - 1 more, so a hit says which one it is of."""
    model, wrong, seen, over = kinds("embedder"), [], set(), threading.Event()

    def search():
        while not over.is_set():
            answer = client.ask("/search", {"index": "idx", "query": TEXTS[0], "k": 1000})
            found = answer.json
            seen.add(found.get("generation"))
            if answer.status != 200 or len(found["hits"]) != 60 + found["generation"] - 1:
                wrong.append(answer)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for one in threads:
        one.start()
    writer = Index.open(folder / "idx", model=model)
    for place in range(5):
        writer.add([f"one more {place}"], progress=False)
        assert client.ask("/indexes/idx/refresh", {}).json["generation"] == place + 2
    writer.add(["seen by the one who watches"], progress=False)
    deadline = time.monotonic() + 10
    while 7 not in seen and time.monotonic() < deadline:
        time.sleep(0.02)
    over.set()
    for one in threads:
        one.join()
    assert not wrong
    assert {1, 7} <= seen | {1}
    manifest = folder / "idx" / "index.json"
    good = manifest.read_bytes()
    manifest.write_bytes(good[:-40])  # a broken one leaves the one that there is
    client.ask("/indexes/idx/refresh", {}).refused(503, "engine_failed")
    assert client.ask("/search", {"index": "idx", "query": "a"}).json["generation"] == 7
    manifest.write_bytes(good)
