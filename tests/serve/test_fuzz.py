"""Whatever is sent, it is an answer or a refusal in OpenAI's shape, never a failure of the server."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anysize.serve.held.house import House
from tests.serve.conftest import running

NAMES = (
    *("model", "input", "dimensions", "layers", "bits", "size", "sizes", "task", "truncate", "encoding_format", "stop"),
    *("output_dtype", "messages", "max_tokens", "stream", "temperature", "seed", "top", "user", "n"),
)
WORDS = (
    *("encoder", "quantized-lm", "classifier"),
    *("dims=8", "layers=1,dims=8", "query", "base64", "user", "END", "ubinary"),
)
PARTS = ("role", "content", "text", "image", "type", "dims", "keep")
PATHS = ("/v1/embeddings", "/run", "/tokenize", "/v1/chat/completions", "/search", "/v1/models")
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 40), st.floats(), st.text(max_size=8), st.sampled_from(WORDS)
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(PARTS), inner, max_size=3),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def client(kinds):
    house = House()
    for name in ("encoder", "quantized-lm", "classifier"):
        house.add(name, kinds(name))
    with running(house) as found:
        yield found


@settings(max_examples=120, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    path=st.sampled_from(PATHS),
    body=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
    model=st.sampled_from(WORDS[:3]),
)
def test_nothing_that_is_sent_is_a_failure_of_the_server(client, path, body, model):
    answer = client.ask(path, json.dumps({"model": model, "max_tokens": 2, **body}).encode())
    assert answer.status < 500, answer
    if answer.status >= 400:
        assert set(answer.json["error"]) == {"message", "type", "param", "code"}


@settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=60))
def test_nor_are_bytes_that_are_no_json(client, path, body):
    answer = client.ask(path, body)
    assert 400 <= answer.status < 500, answer
