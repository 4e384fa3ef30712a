"""A language model that chooses: the protocol on a loopback address, strict reading, and what becomes of nonsense."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from recipes.coding_sample import CODES

from anysize.coding.records.dictionary import CodeDictionary
from anysize.coding.reranking.choosing import Reranker, choice, prompt, training_rows
from anysize.coding.reranking.endpoint import Endpoint
from anysize.core.errors import AnysizeError

KNOWN = CodeDictionary.of(CODES)


@contextlib.contextmanager
def endpoint(answer):
    """A server that speaks OpenAI's protocol; `answer(prompt)` is what it says, or bytes to send as they are."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *given):
            pass

        def send(self, content):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        def do_GET(self):
            assert self.path == "/v1/models"
            self.send({"object": "list", "data": [{"id": "tiny", "object": "model"}]})

        def do_POST(self):
            assert self.path == "/v1/chat/completions"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            said = answer(body["messages"][0]["content"])
            if isinstance(said, int):
                self.send_error(said)
            elif isinstance(said, bytes):
                self.send(said)
            else:
                message = {"role": "assistant", "content": said}
                self.send({"object": "chat.completion", "choices": [{"index": 0, "message": message}]})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("said", "place"),
    [("2", 1), (" 2.\n", 1), ("3)", 2), ("4", None), ("0", None), ("", None), ("2 or 3", None), ("K81", None),
     ("-1", None), ("٢", None), ("2\n3", None), ("99999999999999999999", None)],
)  # fmt: skip
def test_an_answer_is_a_number_and_nothing_else(said, place):
    assert choice(said, 3) == place


def test_the_model_chooses_among_the_candidates_of_the_size(coder):
    def answer(asked):
        lines = [line for line in asked.splitlines() if line[:1].isdigit()]
        return next(line.split(".")[0] for line in lines if "K81.0" in line)

    with endpoint(answer) as (address, asked):
        (found,) = coder.at(candidates=10).run(["хр. холецистит."], llm=address)
    assert [one["code"] for one in found["spans"]] == ["K81.0"]
    assert found["spans"][0]["name"] == "Острый холецистит"
    assert "K81.0" in [one["code"] for one in found["codes"]]
    assert len(asked) == 1
    assert asked[0]["model"] == "tiny"
    assert asked[0]["temperature"] == 0
    assert asked[0]["max_tokens"] == 5
    listed = [line for line in asked[0]["messages"][0]["content"].splitlines() if line[:1].isdigit()]
    assert 1 < len(listed) <= 10


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I think it is cholecystitis", "1 answers named no candidate"),
        (500, "1 did not come"),
        (b"not json", "did not answer in JSON"),
        (b'{"choices": []}', "has no choices.0.message.content"),
    ],
)
def test_nonsense_falls_back_to_the_nearest_name_and_is_said(coder, answer, said, capsys):
    (before,) = coder.run(["хр. холецистит."])
    with endpoint(lambda asked: answer) as (address, _):
        (after,) = coder.run(["хр. холецистит."], llm=address)
    assert after == before
    told = capsys.readouterr().err
    assert said in told
    assert "so the nearest name stands there" in told


def test_an_endpoint_that_is_slow_or_not_there_falls_back_too():
    waiting = threading.Event()
    with endpoint(lambda asked: str(waiting.wait(5))) as (address, _):
        reranker = Reranker(Endpoint(address, timeout=0.2))
        assert reranker.choose(KNOWN, "a", "a", ["K81", "K81.0"]) is None
        waiting.set()
    gone = Reranker(Endpoint(address, timeout=0.5))
    assert gone.choose(KNOWN, "a", "a", ["K81"]) is None
    assert (reranker.told.failed, gone.told.failed) == (1, 1)
    assert "did not come" in str(gone.told)


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://a/v1", "http://", "model"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(AnysizeError, match="is no address of an endpoint"):
        Endpoint(address)


def test_rows_whose_gold_is_not_among_the_candidates_are_counted_by_a_named_rule():
    asked = [("t", "m", "K81", ["K81.0", "K81"]), ("t", "m", "I10", ["K81.0", "K81"])]
    rows, lacking = training_rows(KNOWN, asked)
    assert [one.answer for one in rows] == [" 2"]
    assert lacking == 1
    rows, lacking = training_rows(KNOWN, asked, missing="nearest")
    assert [one.answer for one in rows] == [" 2", " 1"]
    assert lacking == 1
    assert rows[0].question == prompt(KNOWN, "t", "m", ["K81.0", "K81"])
