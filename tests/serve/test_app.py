"""A running server: vectors of every size are the model's own, and whatever is wrong is said in a sentence."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import threading
import time

import numpy as np
import pytest

from anysize.core.errors import AnysizeError
from anysize.serve.held.house import House
from anysize.serve.held.settings import Settings
from tests.conftest import WORDS, sentences
from tests.serve.conftest import running

TEXTS = sentences(3)


@pytest.fixture(scope="module")
def client(kinds):
    house = House(Settings(max_texts=8, max_body=20_000))
    for name in ("encoder", "embedder", "task-encoder", "quantized-encoder", "classifier"):
        house.add(name, kinds(name))
    with running(house) as found:
        yield found


def vectors(answer):
    assert answer.status == 200, answer
    rows = [one["embedding"] for one in answer.json["data"]]
    return np.array([np.frombuffer(base64.b64decode(row), "<f4") if isinstance(row, str) else row for row in rows])


@pytest.mark.parametrize("form", ["float", "base64"])
def test_every_size_is_the_models_own_to_the_bit(client, kinds, form):
    for name in ("encoder", "embedder", "quantized-encoder"):
        model = kinds(name)
        for size in model.nesting:
            named = {("dimensions" if axis == "dims" else axis): value for axis, value in size.items()}
            body = {"model": name, "input": TEXTS[0], "encoding_format": form, **named}
            answer = client.ask("/v1/embeddings", body)
            expected = model.at(size).encode(TEXTS[:1])
            assert np.array_equal(vectors(answer).astype(np.float32), expected), (name, size)
            assert answer.json["size"] == str(size)
            assert f"size={size}; " in answer.headers["x-anysize"]


def test_the_answer_has_openais_shape(client, kinds):
    answer = client.ask("/v1/embeddings", {"model": "encoder", "input": TEXTS, "user": "me"}).json
    assert answer["object"] == "list"
    assert answer["model"] == "encoder"
    assert [(one["object"], one["index"]) for one in answer["data"]] == [("embedding", place) for place in range(3)]
    tokens = sum(kinds("encoder").window().counts(TEXTS))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_several_sizes_come_from_one_request(client, kinds):
    model, sizes = kinds("encoder"), ["layers=1,dims=8", "layers=2,dims=32"]
    answer = client.ask("/v1/embeddings", {"model": "encoder", "input": TEXTS, "sizes": sizes}).json
    assert [(one["index"], one["size"]) for one in answer["data"]] == list(enumerate(sizes * 3))
    for place, one in enumerate(answer["data"]):
        expected = model.at(one["size"]).encode([TEXTS[place // 2]])[0]
        np.testing.assert_allclose(one["embedding"], expected, atol=1e-5)


def test_tasks_and_the_words_of_other_providers(client, kinds):
    model = kinds("task-encoder").at()
    for word, task in (("text-matching", "text-matching"), ("retrieval.query", "retrieval.query")):
        found = vectors(client.ask("/v1/embeddings", {"model": "task-encoder", "input": TEXTS[0], "task": word}))
        np.testing.assert_allclose(found, model.for_task(task).encode(TEXTS[:1]), atol=1e-6)
    plain = kinds("encoder")
    found = vectors(client.ask("/v1/embeddings", {"model": "encoder", "input": TEXTS[0], "input_type": "search_query"}))
    np.testing.assert_allclose(found, plain.encode_query(TEXTS[:1]), atol=1e-6)


def test_packed_signs(client, kinds):
    expected = np.packbits(kinds("encoder").at(dims=8).encode(TEXTS[:1]) > 0, axis=1)
    body = {"model": "encoder", "input": TEXTS[0], "dimensions": 8, "output_dtype": "ubinary"}
    assert np.array_equal(vectors(client.ask("/v1/embeddings", body)), expected)
    signed = vectors(client.ask("/v1/embeddings", {**body, "output_dtype": "binary"}))
    assert np.array_equal(signed, expected.astype(int) - 128)
    few = {"model": "embedder", "input": TEXTS[0], "dimensions": 4, "output_dtype": "ubinary"}
    client.ask("/v1/embeddings", few).refused(400, "wrong_value", "8 numbers")


def test_vectors_are_read_where_a_model_reads_such(client, kinds):
    rows = np.random.default_rng(0).standard_normal((2, 32)).round(3)
    found = vectors(client.ask("/v1/embeddings", {"model": "embedder", "input": rows.tolist(), "dimensions": 4}))
    np.testing.assert_allclose(found, kinds("embedder").at(dims=4).encode(rows.astype(np.float32)), atol=1e-6)


LONG = " ".join(WORDS[:60])
REFUSED = [
    ({"model": "none", "input": "a"}, 404, "model_not_found", ("'none'", "encoder"), "model"),
    ({"input": "a"}, 400, "missing", ("model is missing", "encoder"), "model"),
    ({"model": "encoder"}, 400, "missing", ("input is missing",), "input"),
    ({"input": "a", "dimension": 8}, 400, "unknown_field", ("dimension", "did you mean dimensions?"), "dimension"),
    ({"input": "a", "dimensions": 9}, 400, "size_not_trained", ("trained for dims 8, 32", "9"), None),
    ({"input": "a", "dimensions": 8, "bits": 2}, 400, "unknown_field", ("bits",), "bits"),
    ({"input": "a", "dimensions": True}, 400, "wrong_type", ("a whole number",), "dimensions"),
    ({"input": "a", "dimensions": 8, "size": "dims=8"}, 400, "wrong_value", ("give one",), "size"),
    ({"input": "a", "size": "dims"}, 400, "size_not_trained", (), None),
    ({"input": "a", "sizes": []}, 400, "wrong_value", (), "sizes"),
    ({"input": ""}, 400, "empty_input", ("empty",), "input"),
    ({"input": []}, 400, "empty_input", ("nothing",), "input"),
    ({"input": ["a", " "]}, 400, "empty_input", ("input 1",), "input"),
    ({"input": ["a", 3]}, 400, "wrong_type", ("input 1",), "input"),
    ({"input": [1, 2, 3]}, 400, "token_ids_refused", ("check_embedding_ctx_length=False",), "input"),
    ({"input": [[1, 2], [3]]}, 400, "token_ids_refused", (), "input"),
    ({"input": "a", "encoding_format": "hex"}, 400, "wrong_value", ("float, base64",), "encoding_format"),
    ({"input": "a", "task": "poetry"}, 400, "wrong_value", ("poetry",), "task"),
    ({"input": LONG}, 400, "too_many_tokens", ("input 0 has 62 tokens", "reads 32", "END"), "input"),
    ({"input": ["a"] * 9}, 413, "too_many_texts", ("9", "8"), "input"),
    ({"model": "task-encoder", "input": "a"}, 200, "", (), None),  # its task was chosen when it was made
    ({"model": "classifier", "input": "a"}, 400, "not_supported", ("labels", "/run"), "model"),
    ({"model": "embedder", "input": [[1.5, 2.0], [1.5]]}, 400, "bad_vector", (), "input"),
    ({"model": "embedder", "input": [[1.5, 2.0]]}, 400, "bad_input", ("(n, 32)",), None),
]


@pytest.mark.parametrize("place", range(len(REFUSED)))
def test_what_is_wrong_is_a_4xx_that_names_it(client, place):
    body, status, code, words, param = REFUSED[place]
    answer = client.ask("/v1/embeddings", {**({} if code == "missing" else {"model": "encoder"}), **body})
    if status == 200:
        assert answer.status == 200, answer
    else:
        answer.refused(status, code, *words, param=param)


def test_long_texts_are_cut_where_that_is_asked_for_and_it_is_said(client, kinds):
    body = {"model": "encoder", "input": [TEXTS[0], LONG], "truncate": "END"}
    answer = client.ask("/v1/embeddings", body)
    np.testing.assert_allclose(vectors(answer), kinds("encoder").encode([TEXTS[0], LONG]), atol=1e-5)
    assert answer.json["usage"]["truncated_inputs"] == [1]
    assert answer.json["usage"]["total_tokens"] == 8 + 32
    assert "truncated=1" in answer.headers["x-anysize"]


def test_bodies_that_are_none(client):
    client.ask("/v1/embeddings", b"{").refused(400, "bad_json")
    client.ask("/v1/embeddings", b"[1]").refused(400, "bad_json", "object")
    client.ask("/v1/embeddings", b"{}", content_type="text/plain").refused(415, "not_json", "text/plain")
    client.ask("/v1/embeddings", b"{}", content_encoding="gzip").refused(415, "not_json", "gzip")
    client.ask("/v1/embeddings", {"input": "a" * 30_000}).refused(413, "body_too_large", "20,000")
    client.ask("/nothing").refused(404, "not_found", "/openapi.json")
    client.ask("/v1/embeddings").refused(405, "method_not_allowed")


def test_a_body_without_a_length_is_counted_while_it_comes(client):
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    parts = (b"x" * 8000 for _ in range(3))
    connection.request("POST", "/v1/embeddings", parts, {"content-type": "application/json"}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"]["code"] == "body_too_large"
    connection.close()


def test_who_leaves_while_sending_is_no_failure(client, caplog):
    before = client.ask("/metrics").content.decode()
    with socket.create_connection(("127.0.0.1", client.port)) as sender:
        head = (
            b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
        )
        sender.sendall(head)
        time.sleep(0.1)
    deadline = time.monotonic() + 10
    while client.house.in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    after = client.ask("/metrics").content.decode()
    gone = 'anysize_requests_total{endpoint="/v1/embeddings",size="",status="499"}'
    assert gone not in before
    assert f"{gone} 1.0" in after
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


def test_models_say_their_sizes(client, kinds):
    found = client.ask("/v1/models").json
    assert {one["id"] for one in found["data"]} == set(client.house.models)
    one = client.ask("/v1/models/encoder").json
    assert one["sizes"] == [str(size) for size in kinds("encoder").nesting]
    assert one["matryoshka_dimensions"] == [8, 32]
    assert one["is_matryoshka"]
    assert one["max_tokens"] == 32
    assert client.ask("/v1/models/task-encoder").json["tasks"] == list(kinds("task-encoder").tasks)
    client.ask("/v1/models/other").refused(404, "model_not_found")


def test_tokens_are_counted_without_running(client):
    found = client.ask("/tokenize", {"model": "encoder", "input": ["a", " ".join(WORDS[:5])]}).json
    assert found["tokens"] == [3, 7]
    assert found["max_tokens"] == 32


def test_health_metrics_and_the_headers_of_every_answer(client):
    assert client.ask("/healthz").json == {"status": "ok"}
    assert client.ask("/readyz").json == {"status": "ready"}
    client.ask("/v1/embeddings", {"model": "encoder", "input": "a"})
    text = client.ask("/metrics").content.decode()
    for name in ("requests_total", "queue_seconds_sum", "batch_items_bucket", "tokens_total", "rejected_total"):
        assert f"anysize_{name}" in text
    answer = client.ask("/healthz", x_request_id="mine.1")
    assert answer.headers["x-request-id"] == "mine.1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers
    assert client.ask("/healthz", x_request_id="a b" * 100).headers["x-request-id"].isalnum()


def test_the_document_describes_what_there_is(client):
    found = client.ask("/openapi.json").json
    assert set(found["paths"]) >= {"/v1/embeddings", "/v1/models", "/tokenize", "/healthz"}
    schema = found["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"input", "dimensions", "layers", "bits"} <= set(schema["properties"])
    assert schema["required"] == ["input"]


def test_many_clients_at_once_at_all_sizes(client, kinds):
    model, texts, wrong = kinds("encoder"), sentences(24, seed=5), []

    def ask(place):
        size = model.nesting[place % len(model.nesting)]
        body = {"model": "encoder", "input": texts[place], "layers": size.layers, "dimensions": size.dims}
        found = vectors(client.ask("/v1/embeddings", body))
        if not np.allclose(found, model.at(size).encode([texts[place]]), atol=1e-5):
            wrong.append(place)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(24)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong


def test_what_nobody_waits_for_any_more_is_not_run(client):
    def ran():
        text = client.ask("/metrics").content.decode()
        return float(re.findall(r'batch_items_sum\{model="encoder"\} (\S+)', text)[0])

    before, answers, queue = ran(), [], client.house.models["encoder"].queue
    turn = queue._turn
    body = json.dumps({"model": "encoder", "input": ["a", "b"]}).encode()
    stays = threading.Thread(target=lambda: answers.append(client.ask("/v1/embeddings", body)))
    with client.house.models["encoder"].lock:  # the thread of the model waits for it
        stays.start()
        gone = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        while queue._turn == turn:
            time.sleep(0.01)  # until the first was taken
        gone.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
        while not queue.waiting:
            time.sleep(0.01)
        gone.close()
        deadline = time.monotonic() + 10
        while client.house.in_flight > 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    stays.join()
    assert answers[0].status == 200
    assert client.ask("/v1/embeddings", {"model": "encoder", "input": "a"}).status == 200
    assert ran() == before + 3


def test_keys(kinds, tmp_path):
    file = tmp_path / "keys"
    file.write_text("secret-one\nsecret-two\n", encoding="utf-8")
    house = House(Settings(api_key_file=file))
    house.add("encoder", kinds("encoder"))
    with running(house) as client:
        assert client.ask("/healthz").status == client.ask("/readyz").status == 200
        for header in ("", "Bearer wrong", "Basic secret-one", "secret-one"):
            answer = client.ask("/v1/models", authorization=header)
            answer.refused(401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        client.ask("/metrics").refused(401, "invalid_api_key")
        for key in ("secret-one", "secret-two"):
            assert client.ask("/v1/models", authorization=f"Bearer {key}").status == 200
        file.write_text("secret-three\n", encoding="utf-8")
        house.keys.read()
        client.ask("/v1/models", authorization="Bearer secret-one").refused(401, "invalid_api_key")
        assert client.ask("/v1/models", authorization="Bearer secret-three").status == 200
    (tmp_path / "empty").touch()
    with pytest.raises(AnysizeError, match="holds no key"):
        House(Settings(api_key_file=tmp_path / "empty"))


def test_a_batch_that_is_smaller_than_what_a_model_reads_is_refused_at_the_start(kinds):
    with pytest.raises(AnysizeError, match="--max-batch-tokens to 32"):
        House(Settings(max_batch_tokens=16)).add("encoder", kinds("encoder"))


def test_a_part_of_the_sizes_is_offered(kinds):
    model = kinds("encoder")
    house = House(Settings(sizes=("layers=1,dims=8", "layers=1,dims=32")))
    house.add("mine", model)
    with running(house) as client:
        about = client.ask("/v1/models/mine").json
        assert (about["sizes"], about["default_size"]) == (["layers=1,dims=8", "layers=1,dims=32"], "layers=1,dims=32")
        found = client.ask("/v1/embeddings", {"input": TEXTS[0], "dimensions": 8})
        assert np.array_equal(vectors(found).astype(np.float32), model.at(layers=1, dims=8).encode(TEXTS[:1]))
        for more in ({"layers": 2}, {"size": "layers=2,dims=8"}, {"sizes": ["layers=2,dims=32"]}):
            refused = client.ask("/v1/embeddings", {"input": TEXTS[0], **more})
            refused.refused(400, "size_not_trained", "mine is served at layers=1,dims=8 and layers=1,dims=32")
        client.ask("/run", {"input": TEXTS[0], "layers": 2}).refused(400, "size_not_trained")
    with pytest.raises(AnysizeError, match="layers=2,dims=32 is not among them"):
        House(Settings(sizes=("layers=1,dims=8",), default_size="layers=2,dims=32")).add("mine", model)
