"""``anysize serve`` as a process of its own: it starts, drains, ends with a status, and refuses in a sentence."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import threading
import time

import numpy as np
import pytest

from anysize.search import Index
from tests.conftest import sentences
from tests.kinds import models
from tests.processes import ended, forked

TEXTS = sentences(20)


@pytest.fixture(scope="module")
def folder(encoder_path, lm_path, tmp_path_factory):
    home = tmp_path_factory.mktemp("serve")
    made = models(encoder_path, lm_path)["embedder"][0]()
    made.save(home / "mine")
    Index.build(home / "idx", str(home / "mine"), TEXTS)
    return home


class Process:
    """A server in a fork of this process."""

    def __init__(self, log, *words):
        self.log = log

        def work():
            from anysize.cli.main import main

            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(out, 1)
            os.dup2(out, 2)
            import sys

            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            try:
                main(["serve", *map(str, words), "--port", "0"])
            except SystemExit as left:
                sys.stdout.flush()
                os._exit(int(left.code or 0))

        self.pid = forked(work)
        self.left = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.left:
            os.kill(self.pid, signal.SIGKILL)
            ended(self.pid)

    @property
    def said(self):
        return self.log.read_text("utf-8") if self.log.exists() else ""

    def ready(self):
        deadline = time.monotonic() + 60
        while not (found := re.search(r"at http://127.0.0.1:(\d+)", self.said)):
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)
        self.port = int(found[1])
        while self.ask("GET", "/readyz")[0] != 200:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"content-type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def end(self, number=signal.SIGTERM):
        os.kill(self.pid, number)
        return self.ended()

    def ended(self):
        self.left = True
        return ended(self.pid, 30)


def test_the_two_lines_of_the_readme_and_the_end_in_order(folder, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("one\n", encoding="utf-8")
    words = (folder / "mine", "--index", folder / "idx", "--name", f"text-embedding-3-small={folder / 'mine'}")
    with Process(tmp_path / "log", *words, "--api-key-file", keys, "--drain-notice", "0") as server:
        server.ready()
        key = {"authorization": "Bearer one"}
        for name in ("mine", "text-embedding-3-small"):
            body = {"model": name, "input": TEXTS[0], "dimensions": 4}
            status, answer = server.ask("POST", "/v1/embeddings", body, **key)
            assert status == 200
            assert len(answer["data"][0]["embedding"]) == 4
        status, answer = server.ask("POST", "/search", {"query": TEXTS[3], "k": 1}, **key)
        assert answer["hits"][0]["text"] == TEXTS[3]
        keys.write_text("two\n", encoding="utf-8")
        os.kill(server.pid, signal.SIGHUP)
        deadline = time.monotonic() + 10
        while server.ask("GET", "/v1/models", authorization="Bearer two")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert server.ask("GET", "/v1/models", **key)[0] == 401
        assert server.end() == 0
        assert "nothing was cut off" in server.said
        assert "Traceback" not in server.said
        assert TEXTS[0] not in server.said  # no text in the log
        assert "one" not in re.findall(r"\w+", server.said)


def test_what_is_in_flight_is_answered_and_what_is_new_is_refused(folder, tmp_path):
    with Process(tmp_path / "log", folder / "mine", "--drain-notice", "0.5", "--max-batch-texts", "8") as server:
        server.ready()
        texts, answers = sentences(2000, seed=3), []

        def ask(place):
            body = {"input": texts[place * 100 : place * 100 + 100], "dimensions": 4}
            answers.append(server.ask("POST", "/v1/embeddings", body))

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(20)]
        for one in threads:
            one.start()
        time.sleep(0.1)
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.2)
        assert server.ask("GET", "/readyz")[0] == 503
        status, answer = server.ask("POST", "/v1/embeddings", {"input": "a"})
        assert (status, answer["error"]["code"]) == (503, "draining")
        for one in threads:
            one.join()
        assert server.ended() == 0
        done = [answer for status, answer in answers if status == 200]
        assert len(done) >= 1
        assert all(answer["error"]["code"] == "draining" for status, answer in answers if status != 200)
        assert all(len(answer["data"]) == 100 for answer in done)


def test_what_is_not_done_in_time_is_refused_and_said(folder, tmp_path):
    words = (
        "--drain-notice",
        "0.1",
        "--drain",
        "1",
        "--max-batch-texts",
        "1",
        "--max-queue-tokens",
        "1000000",
        "--timeout",
        "600",
    )
    with Process(tmp_path / "log", folder / "mine", *words) as server:
        server.ready()
        body, answers = {"input": sentences(2000, seed=3), "dimensions": 4}, []
        threads = [
            threading.Thread(target=lambda: answers.append(server.ask("POST", "/v1/embeddings", body)))
            for _ in range(4)
        ]
        for one in threads:
            one.start()
        time.sleep(0.3)
        os.kill(server.pid, signal.SIGTERM)
        for one in threads:
            one.join()
        assert server.ended() == 1
    cut = [answer["error"]["code"] for status, answer in answers if status != 200]
    assert cut
    assert set(cut) == {"draining"}
    assert "Traceback" not in server.said


def test_a_second_signal_ends_at_once(folder, tmp_path):
    with Process(tmp_path / "log", folder / "mine", "--drain-notice", "60") as server:
        server.ready()
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.3)
        begin = time.monotonic()
        assert server.end(signal.SIGINT) in (0, 1)
        assert time.monotonic() - begin < 10


def test_ten_times_too_much_is_refused_and_what_is_taken_is_right(folder, encoder_path, lm_path, tmp_path):
    model = models(encoder_path, lm_path)["embedder"][0]().at(dims=4)
    words = ("--max-batch-texts", "4", "--max-queue-tokens", "200", "--timeout", "5")
    with Process(tmp_path / "log", folder / "mine", *words) as server:
        server.ready()
        texts, statuses, wrong, late = sentences(40, seed=4), [], [], []
        until = time.monotonic() + 2

        def ask(place):
            while time.monotonic() < until:
                begin = time.monotonic()
                own = texts[place : place + 8]
                status, answer = server.ask("POST", "/v1/embeddings", {"input": own, "dimensions": 4})
                statuses.append(status)
                late.extend([status] if time.monotonic() - begin > 6 else [])
                if status == 200:
                    found = [one["embedding"] for one in answer["data"]]
                    wrong.extend([] if np.allclose(found, expected[place], atol=1e-5) else [place])

        expected = [model.encode(texts[place : place + 8]) for place in range(32)]
        threads = [threading.Thread(target=ask, args=(place,)) for place in range(32)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert set(statuses) == {200, 429}
        assert not wrong
        assert not late
        assert server.ask("POST", "/v1/embeddings", {"input": "a"})[0] == 200  # and it is there again


def test_what_cannot_be_served_is_said(anysize, folder, tmp_path, monkeypatch):
    anysize("serve").refused("anysize serve mine --index idx")
    anysize("serve", tmp_path / "nothing", "--port", "0").refused("nothing does not exist")
    anysize("serve", folder / "mine", folder / "mine", "--port", "0").refused("two models are called mine")
    anysize("serve", folder / "mine", "--default-size", "dims=5", "--port", "0").refused("trained for dims 4, 16")
    anysize("serve", folder / "mine", "--port", "0", "--timeout", "0").refused("timeout")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        anysize("serve", folder / "mine", "--port", port).refused(str(port), "--port")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fastapi" else True)
    anysize("serve", folder / "mine").refused("pip install 'anysize[serve]'", "fastapi")
