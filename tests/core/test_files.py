from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from anysize.core import files
from anysize.core.errors import AnysizeError, CheckpointError


def fill(target, content):
    with files.new_directory(target, marker="ours.json") as folder:
        (folder / "ours.json").write_text("{}")
        (folder / "deep").mkdir()
        (folder / "deep" / "content").write_text(content)


@pytest.mark.parametrize("swaps", [True, False])
def test_a_new_directory_takes_the_place_of_our_old_one(tmp_path, monkeypatch, swaps):
    if not swaps:  # As on systems without an exchange of two names.
        monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: object())
    target = tmp_path / "not yet" / "model"
    fill(target, "old")
    (target / "left over").touch()
    fill(target, "new")
    assert (target / "deep" / "content").read_text() == "new"
    assert not (target / "left over").exists()
    assert [path.name for path in target.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_body_that_raises_leaves_the_old_directory_and_nothing_else(tmp_path, error):
    target = tmp_path / "model"
    fill(target, "old")

    def fail():
        with files.new_directory(target, marker="ours.json") as folder:
            (folder / "ours.json").write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert (target / "ours.json").read_text() == "{}"
    assert (target / "deep" / "content").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_nobody_sees_the_directory_before_it_is_whole(tmp_path):
    with files.new_directory(tmp_path / "model", marker="ours.json") as folder:
        (folder / "ours.json").touch()
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "model" / "ours.json").exists()


def test_what_we_did_not_write_is_not_replaced(tmp_path):
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter").write_text("precious")
    with pytest.raises(CheckpointError, match=r"thesis exists and holds no ours\.json"):
        fill(foreign, "new")
    assert (foreign / "chapter").read_text() == "precious"
    with pytest.raises(CheckpointError, match="not ours to replace"):
        fill(foreign / "chapter", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_an_empty_directory_may_be_filled(tmp_path):
    (tmp_path / "model").mkdir()
    fill(tmp_path / "model", "new")
    assert (tmp_path / "model" / "deep" / "content").read_text() == "new"


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "values.json"
    files.write_json(path, {"size": "größe"})
    assert files.read_json(path, "a model") == {"size": "größe"}

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        files.write_json(path, {"size": 2})
    assert files.read_json(path, "a model") == {"size": "größe"}
    assert list(tmp_path.iterdir()) == [path]


def test_unreadable_json_says_what_was_expected_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"is not an index: it holds no values\.json"):
        files.read_json(tmp_path / "values.json", "an index")
    for damaged in (b'{"a": 1', b"\xff\xfe", b""):
        (tmp_path / "values.json").write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"cannot be read as an index .* cut short"):
            files.read_json(tmp_path / "values.json", "an index")


def test_the_digest_is_that_of_the_content(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_lock_is_held_by_one_and_given_back(tmp_path):
    path = tmp_path / "lock"
    with (
        files.lock(path, "another is writing"),
        pytest.raises(AnysizeError, match=r"^another is writing; wait for it to end$"),
        files.lock(path, "another is writing"),
    ):
        pass
    with files.lock(path, "another is writing"):
        pass


def test_a_lock_holds_against_other_processes(tmp_path):
    code = f"from anysize.core import files\nwith files.lock(files.Path({str(tmp_path / 'lock')!r}), 'busy'): pass"

    def other():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    with files.lock(tmp_path / "lock", "busy"):
        assert "AnysizeError: busy" in other().stderr
    assert other().returncode == 0
