"""Every registered kind is served, and gives what `run` gives; and so is a kind of a package that came later."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest

from anysize.core.registry import names
from anysize.core.verbs.outputs import shape_of
from anysize.core.verbs.run import run
from anysize.serve.held.house import House
from tests.kinds import LINKS, ROWS, TEXTS
from tests.serve.conftest import running
from tests.tiny_speech import noise, write_wav
from tests.tiny_vlm import drawn

FORM = {"content_type": "multipart/form-data; boundary=x"}


@pytest.fixture(scope="module")
def client(kinds):
    house = House()
    for name in names("models"):
        house.add(name, kinds(name))
    with running(house) as found:
        yield found


def png(picture):
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()


def form(content, name, **fields):
    parts = [f'--x\r\ncontent-disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    head = f'--x\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return "".join(parts).encode() + head.encode() + content + b"\r\n--x--\r\n"


def asked_of(kind):
    """How a kind is asked in JSON, and the same for `run`."""
    picture = png(drawn(1)[0])
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    parts = [{"text": "how many red"}, {"image": url}]
    if kind in ("classifier", "sae"):
        return ROWS[:2].tolist(), ROWS[:2]
    if kind == "image-encoder":
        from anysize.core.data.records import Items

        return [{"image": url}], Items(["0"], [picture], "image")
    if kind in ("vlm", "interleaved"):
        from anysize.core.data.records import Items

        return [parts], Items(["0"], [[{"text": "how many red"}, {"image": picture}]], "parts")
    return TEXTS[:2], TEXTS[:2]


@pytest.mark.parametrize("kind", sorted(set(names("models")) - {"speech", "codebook", "ssb-encoder"}))
def test_a_kind_gives_what_run_gives(client, kinds, kind):
    model = kinds(kind)
    given, items = asked_of(kind)
    size = model.nesting[0]
    few = {"max_new_tokens": 6} if "max_new_tokens" in client.house.models[kind].options else {}
    expected = run(model, items, size=size, **few)
    answer = client.ask("/run", {"model": kind, "input": given, "size": str(size), **few})
    assert answer.status == 200, answer
    assert (answer.json["gives"], answer.json["size"]) == (model.gives, str(size))
    outputs = [one["output"] for one in answer.json["data"]]
    listed = shape_of(model.gives).listed(expected.outputs)
    if model.gives == "vectors":
        np.testing.assert_allclose(outputs, listed, atol=1e-5)
    else:
        assert outputs == json.loads(json.dumps(listed))


def test_arrays_come_as_a_file(client, kinds):
    file = io.BytesIO()
    np.savez(file, channels=LINKS.values, panel=[LINKS.panel.rows, LINKS.panel.columns])
    body = form(file.getvalue(), "links.npz", model="codebook", beams=2)
    answer = client.ask("/run", body, **FORM)
    assert answer.status == 200, answer
    expected = kinds("codebook").at(beams=2).run(LINKS)
    assert [one["output"] for one in answer.json["data"]] == json.loads(json.dumps(expected))


def test_a_sound_comes_as_a_file_or_as_base64(client, kinds, tmp_path):
    speech = kinds("speech")
    assert "audio" in speech.reads
    size = str(speech.nesting[0])
    content = write_wav(tmp_path / "a.wav", noise(0.4)).read_bytes()
    answer = client.ask(
        "/run", form(content, "a.wav", model="speech", size=size), content_type="multipart/form-data; boundary=x"
    )
    answer.refused(400, "bad_input", "has no video")  # the library's own sentence, without the place of the file
    assert "/tmp" not in answer.content.decode()


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"model": "causal-lm", "input": "a", "max_new_tokens": "x"}, "wrong_type", ("max_new_tokens",)),
        ({"model": "coder", "input": "a", "llm": "http://127.0.0.1:1"}, "unknown_field", ("llm",)),
        ({"model": "vlm", "input": [[{"text": "a"}, {"image": "/etc/passwd"}]]}, "wrong_value", ("no base64",)),
        ({"model": "vlm", "input": [[{"image": "http://127.0.0.1/a.png"}]]}, "not_supported", ("nothing is fetched",)),
        ({"model": "vlm", "input": [[{"text": "a"}, {"image": "QUJD"}]]}, "bad_input", ("picture",)),
        ({"model": "sae", "input": [[1.0, 2.0]]}, "bad_input", ()),
        ({"model": "encoder", "input": "a", "layers": 7}, "size_not_trained", ("7",)),
    ],
)
def test_what_is_wrong_is_said(client, body, code, words):
    client.ask("/run", body).refused(400, code, *words)


def test_files_that_are_none(client):
    client.ask("/run", form(b"x", "a.exe", model="vlm"), **FORM).refused(400, "wrong_value", ".exe", ".wav")
    client.ask("/run", form(b"x", "a.npz", model="codebook"), **FORM).refused(400, "bad_input")
    client.ask("/run", b"nothing", **FORM).refused(400, "bad_form")


def test_a_text_that_looks_like_a_path_is_a_text(client, kinds):
    answer = client.ask("/run", {"model": "encoder", "input": "/etc/passwd"})
    np.testing.assert_allclose(answer.json["data"][0]["output"], kinds("encoder").encode(["/etc/passwd"])[0], atol=1e-5)
