"""The clients that people have, against a running server. Each test is skipped where its client is not installed."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess

import numpy as np
import pytest

from anysize.serve.held.house import House
from anysize.serve.held.settings import Settings
from tests.conftest import sentences
from tests.serve.conftest import running

TEXTS = sentences(3)
pytestmark = pytest.mark.filterwarnings("ignore")  # of the clients: theirs are no errors of ours


@pytest.fixture(scope="module")
def client(kinds, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("sesame\n", encoding="utf-8")
    house = House(Settings(api_key_file=keys))
    house.add("mine", kinds("embedder"))
    house.add("text-embedding-3-small", kinds("embedder"))
    house.add("deep", kinds("encoder"))
    house.add("lm", kinds("quantized-lm"))
    with running(house) as found:
        yield found


@pytest.fixture
def expected(kinds):
    return kinds("embedder").at(dims=4).encode(TEXTS)


def installed(name):
    return pytest.importorskip(name, reason=f"{name} is not installed (extra test-clients)", exc_type=ImportError)


def test_openai(client, kinds, expected):
    openai = installed("openai")
    asks = openai.OpenAI(base_url=client.url + "/v1", api_key="sesame", max_retries=0)
    for form in ("float", "base64", None):
        given = {} if form is None else {"encoding_format": form}
        found = asks.embeddings.create(model="mine", input=TEXTS, dimensions=4, **given)
        rows = [one.embedding for one in found.data]
        if form != "base64":  # which the client decodes by itself unless it is asked for it
            np.testing.assert_allclose(rows, expected, atol=1e-5)
        assert found.usage.total_tokens == sum(kinds("embedder").window().counts(TEXTS))
    more = asks.embeddings.create(model="deep", input=TEXTS, extra_body={"layers": 1, "dims": 8})
    np.testing.assert_allclose(
        [one.embedding for one in more.data], kinds("encoder").at(layers=1, dims=8).encode(TEXTS), atol=1e-5
    )
    with pytest.raises(openai.BadRequestError) as refused:
        asks.embeddings.create(model="mine", input=TEXTS, dimensions=5)
    assert (refused.value.code, refused.value.type) == ("size_not_trained", "invalid_request_error")
    with pytest.raises(openai.NotFoundError):
        asks.embeddings.create(model="other", input="a")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=client.url + "/v1", api_key="wrong", max_retries=0).models.list()
    assert {one.id for one in asks.models.list()} == set(client.house.models)


def test_openai_says_words_whole_in_pieces_and_asynchronously(client, kinds):
    openai = installed("openai")
    asks = openai.OpenAI(base_url=client.url + "/v1", api_key="sesame", max_retries=0)
    said = [{"role": "user", "content": TEXTS[0]}]
    (expected,) = kinds("quantized-lm").at(bits=2).run(TEXTS[:1], max_new_tokens=8)
    more = {"model": "lm", "messages": said, "max_tokens": 8, "extra_body": {"bits": 2}}
    assert asks.chat.completions.create(**more).choices[0].message.content == expected
    pieces = asks.chat.completions.create(**more, stream=True)
    assert "".join(one.choices[0].delta.content or "" for one in pieces) == expected

    async def both():
        async with openai.AsyncOpenAI(base_url=client.url + "/v1", api_key="sesame") as later:
            return await asyncio.gather(
                *(later.embeddings.create(model="mine", input=text, dimensions=4) for text in TEXTS)
            )

    found = asyncio.run(both())
    rows = [one.data[0].embedding for one in found]
    np.testing.assert_allclose(rows, kinds("embedder").at(dims=4).encode(TEXTS), atol=1e-5)


def test_langchain(client, expected):
    made = installed("langchain_openai").OpenAIEmbeddings(
        model="mine", base_url=client.url + "/v1", api_key="sesame", dimensions=4, check_embedding_ctx_length=False
    )
    np.testing.assert_allclose(made.embed_documents(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(made.embed_query(TEXTS[0]), expected[0], atol=1e-5)


def test_llama_index(client, expected):
    made = installed("llama_index.embeddings.openai_like").OpenAILikeEmbedding(
        model_name="mine", api_base=client.url + "/v1", api_key="sesame", dimensions=4
    )
    np.testing.assert_allclose(made.get_text_embedding_batch(TEXTS), expected, atol=1e-5)


def test_litellm(client, expected, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = installed("litellm")
    where = {"api_base": client.url + "/v1", "api_key": "sesame", "dimensions": 4, "input": TEXTS}
    for name, more in (("openai/text-embedding-3-small", {}), ("hosted_vllm/mine", {}),
                       ("openai/mine", {"allowed_openai_params": ["dimensions"]})):  # fmt: skip
        found = litellm.embedding(name, **where, **more)
        np.testing.assert_allclose([one["embedding"] for one in found.data], expected, atol=1e-5)


def test_haystack(client, expected):
    installed("haystack")
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder
    from haystack.utils import Secret

    key = Secret.from_token("sesame")
    made = OpenAIDocumentEmbedder(model="mine", api_base_url=client.url + "/v1", dimensions=4, api_key=key)
    found = made.run([Document(content=text) for text in TEXTS])["documents"]
    np.testing.assert_allclose([one.embedding for one in found], expected, atol=1e-5)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_curl(client, expected):
    body = json.dumps({"model": "mine", "input": TEXTS, "dimensions": 4})
    words = ["-H", "Authorization: Bearer sesame", "-H", "Content-Type: application/json", "-d", body]
    done = subprocess.run(
        ["curl", "-sS", client.url + "/v1/embeddings", *words], capture_output=True, check=True, timeout=30
    )
    np.testing.assert_allclose([one["embedding"] for one in json.loads(done.stdout)["data"]], expected, atol=1e-5)


def test_openai_of_npm(client, expected):
    """Where ``npm install openai`` was run in a folder that NODE_PATH names."""
    node = shutil.which("node")
    there = node and subprocess.run(
        [node, "-e", "require('openai')"], capture_output=True, timeout=60, check=False
    ).returncode == 0  # fmt: skip
    if not there:
        pytest.skip("node has no package openai")
    program = """
const OpenAI = require("openai"), [url, texts] = [process.argv[1], JSON.parse(process.argv[2])];
const asks = new OpenAI({ baseURL: url, apiKey: "sesame", maxRetries: 0 });
(async () => {
  const found = await asks.embeddings.create({ model: "mine", input: texts, dimensions: 4 });
  let code;
  try { await asks.embeddings.create({ model: "mine", input: texts, dimensions: 5 }); }
  catch (error) { code = [error.status, error.code]; }
  console.log(JSON.stringify({ rows: found.data.map(one => one.embedding), code }));
})();
"""
    done = subprocess.run(
        [str(node), "-e", program, client.url + "/v1", json.dumps(TEXTS)], capture_output=True, check=True, timeout=60
    )
    found = json.loads(done.stdout)
    np.testing.assert_allclose(found["rows"], expected, atol=1e-5)
    assert found["code"] == [400, "size_not_trained"]
