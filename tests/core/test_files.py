import hashlib
import os
import threading

import pytest

from anysize.core import files
from anysize.core.errors import AnysizeError, CheckpointError

MARK = "anysize.json"


def fill(target, content="new"):
    with files.new_directory(target, marker=MARK) as scratch:
        files.write_json(scratch / MARK, {"content": content})
        (scratch / "deep").mkdir()
        (scratch / "deep" / "file").write_text(content)


def contents(target):
    return {str(file.relative_to(target)): file.read_text() for file in target.rglob("*") if file.is_file()}


def test_a_new_directory_appears_whole(tmp_path):
    target = tmp_path / "parent" / "model"
    with files.new_directory(target, marker=MARK) as scratch:
        (scratch / "file").write_text("x")
        assert not target.exists()
    assert contents(target) == {"file": "x"}
    assert list(target.parent.iterdir()) == [target]


def test_our_own_directory_is_replaced_and_nothing_of_it_stays(tmp_path):
    target = tmp_path / "model"
    fill(target, "old")
    (target / "left over").write_text("old")
    fill(target)
    assert sorted(contents(target)) == [MARK, "deep/file"]
    assert (target / "deep" / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_empty_directory_is_ours_to_fill(tmp_path):
    (tmp_path / "model").mkdir()
    fill(tmp_path / "model")
    assert MARK in contents(tmp_path / "model")


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [True, False])
def test_a_failure_leaves_what_was_there(tmp_path, failure, before):
    target = tmp_path / "model"
    if before:
        fill(target, "old")
    seen = contents(target)

    def fail():
        with files.new_directory(target, marker=MARK) as scratch:
            (scratch / "half").write_text("x")
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert contents(target) == seen
    assert list(tmp_path.iterdir()) == ([target] if before else [])


def test_a_folder_that_cannot_be_flushed_undoes_nothing(tmp_path, monkeypatch):
    fsync = os.fsync

    def failing(file):
        if os.path.samestat(os.fstat(file), tmp_path.stat()):
            raise OSError("no")
        fsync(file)

    monkeypatch.setattr(os, "fsync", failing)
    for content in ("old", "new"):
        fill(tmp_path / "model", content)
        files.write_bytes(tmp_path / "file", content.encode())
    assert contents(tmp_path / "model")["deep/file"] == "new"
    assert (tmp_path / "file").read_text() == "new"
    monkeypatch.setattr(os, "fsync", lambda file: failing(file) if file < 0 else (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        files.write_bytes(tmp_path / "file", b"a file that may be lost")
    assert (tmp_path / "file").read_text() == "new"


def test_what_is_not_ours_is_not_replaced(tmp_path):
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter").write_text("precious")
    entered = False
    with pytest.raises(CheckpointError, match="so it is not ours to replace; name another place"):  # noqa: SIM117
        with files.new_directory(target, marker=MARK):
            entered = True
    assert not entered
    assert contents(target) == {"chapter": "precious"}
    (tmp_path / "note").write_text("a file")
    with pytest.raises(CheckpointError, match="not ours"):
        files.check_replaceable(tmp_path / "note", MARK)


def test_the_swap_without_the_system_call(tmp_path, monkeypatch):
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: object())
    fill(tmp_path / "model", "old")
    fill(tmp_path / "model")
    assert (tmp_path / "model" / "deep" / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


def test_a_relative_target_survives_a_change_of_directory(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    with files.new_directory("model", marker=MARK) as scratch:
        (scratch / MARK).write_text("{}")
        os.chdir(tmp_path / "a")
    assert (tmp_path / "model" / MARK).exists()


def test_readers_meet_a_whole_file_while_it_is_rewritten(tmp_path):
    path = tmp_path / "file"
    versions = [bytes([letter]) * 50_000 for letter in b"abc"]
    files.write_bytes(path, versions[0])
    met, done = set(), threading.Event()

    def read():
        while not done.is_set():
            met.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(30):
        files.write_bytes(path, versions[turn % 3])
    done.set()
    reader.join()
    assert met
    assert met <= set(versions)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_comes_back(tmp_path):
    value = {"name": "Matrjoschka Матрёшка", "sizes": [1, 2.5, None]}
    files.write_json(tmp_path / MARK, value)
    assert files.read_json(tmp_path / MARK, "a model") == value
    assert "Матрёшка" in (tmp_path / MARK).read_text("utf-8")


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe{}", b"{'a': 1}"])
def test_json_that_is_damaged(tmp_path, content):
    (tmp_path / MARK).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as a model"):
        files.read_json(tmp_path / MARK, "a model")


@pytest.mark.parametrize("content", ["[]", "1", "null", '"x"'])
def test_json_that_is_no_object(tmp_path, content):
    (tmp_path / MARK).write_text(content)
    with pytest.raises(CheckpointError, match=f"{MARK} cannot be read as a model: it holds no JSON object"):
        files.read_object(tmp_path / MARK, "a model")


def test_json_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path.name} is not an index: it holds no {MARK}"):
        files.read_json(tmp_path / MARK, "an index")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        files.read_json(tmp_path / "folder.json", "an index")
    with pytest.raises(CheckpointError, match="none does not exist; expected an index"):
        files.read_json(tmp_path / "none" / MARK, "an index")


def test_the_hash_of_a_file(tmp_path):
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)
    assert files.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_one_holder_of_a_lock_at_a_time(tmp_path):
    with files.lock(tmp_path / "lock", "someone else writes"):  # noqa: SIM117
        with pytest.raises(AnysizeError, match="someone else writes; wait for it to end"):
            with files.lock(tmp_path / "lock", "someone else writes"):
                pass
    with files.lock(tmp_path / "lock", "busy"):
        pass
