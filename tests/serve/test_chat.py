"""Words over HTTP: what `run` says, whole and in pieces; and what is written down of a sound."""

from __future__ import annotations

import base64
import http.client
import json
import time

import pytest

from anysize.serve.held.house import House
from anysize.tokens.vlm.asking import Asked
from tests.conftest import sentences
from tests.serve.conftest import running
from tests.serve.test_running import FORM, form, png
from tests.tiny_speech import noise, tiny_speech, write_wav
from tests.tiny_vlm import drawn

TEXT = sentences(1)[0]


@pytest.fixture(scope="module")
def client(kinds):
    house = House()
    for name in ("causal-lm", "quantized-lm", "edited-lm", "vlm", "encoder"):
        house.add(name, kinds(name))
    house.add("ear", tiny_speech(video=None, tasks=["asr"]))
    with running(house) as found:
        yield found


def said(text=TEXT, model="causal-lm", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 8, **more}


def events(answer):
    lines = [line for line in answer.content.decode().split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


@pytest.mark.parametrize(
    ("model", "size"), [("causal-lm", {}), ("quantized-lm", {"bits": 2}), ("edited-lm", {"windows": 1})]
)
@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 3}])
def test_whole_and_in_pieces_it_says_what_the_model_says(client, kinds, model, size, options):
    (expected,) = kinds(model).at(**size).run([TEXT], max_new_tokens=8, **options)
    answer = client.ask("/v1/chat/completions", said(model=model, **size, **options))
    assert answer.status == 200, answer
    choice = answer.json["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": expected}
    assert choice["finish_reason"] in ("length", "stop")
    assert answer.json["usage"]["prompt_tokens"] == len(TEXT.split())
    pieces = events(client.ask("/v1/chat/completions", said(model=model, stream=True, **size, **options)))
    deltas = [one["choices"][0]["delta"] for one in pieces]
    assert "".join(one.get("content", "") for one in deltas) == expected
    assert deltas[0]["role"] == "assistant"
    assert pieces[-1]["choices"][0]["finish_reason"] == choice["finish_reason"]
    assert len(deltas) > 4  # as it was made, not all at the end


def test_what_ends_a_text_is_not_sent(client, kinds):
    (whole,) = kinds("causal-lm").run([TEXT], max_new_tokens=8)
    stop = whole.split()[3]
    expected = whole[: whole.index(stop)]
    pieces = events(client.ask("/v1/chat/completions", said(stream=True, stop=stop)))
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in pieces) == expected
    usage = events(client.ask("/v1/chat/completions", said(stream=True, stream_options={"include_usage": True})))[-1]
    assert usage["usage"]["prompt_tokens"] == len(TEXT.split())


def test_a_question_about_a_picture(client, kinds):
    picture = drawn(1)[0]
    url = "data:image/png;base64," + base64.b64encode(png(picture)).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "how many red"}]
    for tokens in (1, 16):
        (expected,) = kinds("vlm").at(tokens=tokens).run([Asked(picture, "how many red")], max_new_tokens=8)
        answer = client.ask("/v1/chat/completions", said(content, "vlm", tokens=tokens)).json
        assert answer["choices"][0]["message"]["content"] == expected
        assert answer["size"] == f"tokens={tokens}"
        assert answer["took"]["tokens"] == tokens
    pieces = events(client.ask("/v1/chat/completions", said(content, "vlm", tokens=16, stream=True)))
    words = [one["choices"][0]["delta"].get("content", "") for one in pieces]
    assert "".join(words) == expected
    assert sum(map(bool, words)) == len(expected.split()) > 1  # as it was made, and nothing is left for the end


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (said(tools=[{"type": "function"}]), "not_supported", ("tools",)),
        (said(top_p=0.5), "not_supported", ("top_p",)),
        (said(n=2), "wrong_value", ("n is 2",)),
        (said(model="encoder"), "not_supported", ("vectors",)),
        (said(model="vlm", temperature=0.5), "not_supported", ("temperature",)),
        (said(model="vlm"), "bad_input", ("one picture",)),
        (said(model="quantized-lm", bits=3), "size_not_trained", ("2, 8",)),
        (said(" "), "empty_input", ()),
        (said([{"type": "input_audio"}]), "not_supported", ("input_audio",)),
        (said(max_tokens=5000, stream=True), "bad_input", ("64 places",)),
        ({"model": "causal-lm", "messages": [{"role": "wizard", "content": "a"}]}, "wrong_type", ("message 0",)),
        (said(frequency=1), "unknown_field", ("frequency",)),
    ],
)
def test_what_is_wrong_is_said(client, body, code, words):
    client.ask("/v1/chat/completions", body).refused(400, code, *words)


def test_nothing_more_is_made_for_who_has_gone(client, kinds, monkeypatch):
    made = []
    model = kinds("causal-lm")
    run = type(model).run

    def slow(self, items, *, told=None, **options):
        def counted(text):
            made.append(text)
            time.sleep(0.05)
            told(text)

        return run(self, items, told=counted if told else None, **options)

    slow.__wrapped__ = run
    monkeypatch.setattr(type(model), "run", slow)
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    body = json.dumps(said(stream=True, max_tokens=50)).encode()
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.readline().startswith(b"data: ")
    answer.close()
    connection.close()
    deadline = time.monotonic() + 20
    while client.house.in_flight and time.monotonic() < deadline:
        time.sleep(0.02)
    count = len(made)
    assert client.ask("/v1/chat/completions", said()).status == 200
    assert len(made) <= count + 2 < 40


def test_a_sound_is_written_down(client, tmp_path):
    ear = client.house.models["ear"].model
    path = write_wav(tmp_path / "a.wav", noise(0.4))
    for size in (ear.nesting[0], ear.nesting.full):
        (expected,) = ear.at(size).run([path])
        body = form(path.read_bytes(), "a.wav", model="ear", **size.to_json())
        answer = client.ask("/v1/audio/transcriptions", body, **FORM)
        assert answer.json["text"] == expected, answer
        assert answer.json["took"]["seconds_of_speech"] == pytest.approx(0.4)
    body = form(path.read_bytes(), "a.wav", model="ear", response_format="text")
    assert client.ask("/v1/audio/transcriptions", body, **FORM).content.decode() == expected + "\n"
    broken = client.ask("/v1/audio/transcriptions", form(b"RIFF", "a.wav", model="ear"), **FORM)
    broken.refused(400, "bad_input")
    assert "/tmp" not in broken.content.decode()
    wrong = form(path.read_bytes(), "a.wav", model="ear", audio="1/3")
    client.ask("/v1/audio/transcriptions", wrong, **FORM).refused(400, "size_not_trained")
