"""Links, leftovers of killed writers, modes, full disks: nothing outside the target is touched."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anysize.core import files, scratch
from anysize.core.errors import CheckpointError
from tests.conftest import tree

MARK = "anysize.json"


def fill(target: Path) -> None:
    with files.new_directory(target, marker=MARK) as folder:
        files.write_json(folder / MARK, {})


@pytest.fixture(params=["folder of ours", "empty folder", "folder of others", "file", "nothing"])
def link(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A link beside what it leads to."""
    there = tmp_path / "elsewhere" / "precious"
    there.parent.mkdir()
    if request.param == "folder of ours":
        fill(there)
    elif request.param == "folder of others":
        there.mkdir()
        (there / "thesis").write_text("x")
    elif request.param == "empty folder":
        there.mkdir()
    elif request.param == "file":
        there.write_text("x")
    (tmp_path / "link").symlink_to(there)
    return tmp_path / "link"


def test_a_link_is_neither_followed_nor_replaced(link: Path) -> None:
    before = tree(link.parent), sorted(link.parent.rglob("*"))
    entered = False
    with pytest.raises(CheckpointError, match=r"is a symbolic link \(to .*precious\)"):  # noqa: SIM117
        with files.new_directory(link, marker=MARK):
            entered = True
    assert not entered
    for write in (
        files.check_file,
        lambda path: files.write_bytes(path, b"new"),
        lambda path: files.write_json(path, 1),
    ):
        with pytest.raises(CheckpointError, match="symbolic link"):
            write(link)
    with pytest.raises(CheckpointError, match="symbolic link"):
        files.write_together({link.parent / "first": b"1", link: b"2"})
    assert link.is_symlink()
    assert (tree(link.parent), sorted(link.parent.rglob("*"))) == before


def test_a_link_that_takes_the_place_during_the_work_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "other")
    with pytest.raises(CheckpointError, match="symbolic link"):  # noqa: SIM117
        with files.new_directory(tmp_path / "m", marker=MARK):
            (tmp_path / "m").symlink_to(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "other"]


def test_replacing_a_folder_of_ours_deletes_nothing_that_links_in_it_lead_to(tmp_path: Path) -> None:
    fill(tmp_path / "m")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis").write_text("x")
    (tmp_path / "m" / "folder").symlink_to(tmp_path / "precious")
    (tmp_path / "m" / "file").symlink_to(tmp_path / "precious" / "thesis")
    fill(tmp_path / "m")
    assert [path.name for path in (tmp_path / "m").iterdir()] == [MARK]
    assert tree(tmp_path / "precious") == {"thesis": b"x"}


@pytest.mark.parametrize("place", ["none/file", "folder", "fifo", "file/below"])
def test_a_place_for_a_file_is_checked_before_the_work(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(files.AnysizeError, match="cannot write"):
        files.check_file(tmp_path / place)
    files.check_file(tmp_path / "file")
    files.check_file(tmp_path / "new")


KILLED = """
import os, sys
from pathlib import Path
from anysize.core import files
target = Path(sys.argv[1])
if sys.argv[2] == "folder":
    with files.new_directory(target, marker="anysize.json") as folder:
        (folder / "weights").write_bytes(b"x" * 1000)
        os.kill(os.getpid(), 9)
with files.scratch_file(target):
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_a_killed_writer_left_is_removed_by_the_next(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "m", kind], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".m.")
    monkeypatch.setattr(scratch, "_YOUNG", 0)
    fill(tmp_path / "n")
    assert left.exists()  # of another name
    fill(tmp_path / "m") if kind == "folder" else files.write_bytes(tmp_path / "m", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "n"]


def _leftover(folder: Path, process: int, name: str = "m") -> Path:
    return folder / f".{name}.{process}-0123abcd.tmp"


def _dead() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_only_what_a_dead_process_of_ours_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("x")
    dead = _dead()
    kept = [
        _leftover(tmp_path, os.getpid()),  # alive
        _leftover(tmp_path, 1),  # alive
        _leftover(tmp_path, dead, "mm"),  # of another target
        tmp_path / f".m.{dead}-0123abcd.tmp.bak",
        tmp_path / f".m.{dead}-0123abc.tmp",
        tmp_path / ".m.old.tmp",
        tmp_path / "m.partial",
    ]
    for path in kept:
        path.mkdir()
    linked = _leftover(tmp_path, _dead())
    linked.symlink_to(precious)
    gone = _leftover(tmp_path, dead)
    gone.mkdir()
    (gone / "inside").symlink_to(precious)
    scratch.sweep(tmp_path / "m")
    assert gone.exists()  # young: who made it may not hold it yet
    monkeypatch.setattr(scratch, "_YOUNG", 0)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    scratch.sweep(tmp_path / "m")
    assert gone.exists()  # another user's
    monkeypatch.undo()
    monkeypatch.setattr(scratch, "_YOUNG", 0)
    scratch.sweep(tmp_path / "m")
    assert not gone.exists()
    assert all(path.exists() for path in kept)
    assert linked.is_symlink()
    assert tree(precious) == {"thesis": b"x"}


def test_what_is_locked_belongs_to_somebody_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another container, say, where the process has another number."""
    monkeypatch.setattr(scratch, "_YOUNG", 0)
    dead = _dead()
    with scratch.scratch_folder(tmp_path / "m") as folder:
        renamed = folder.rename(_leftover(tmp_path, dead))
        scratch.sweep(tmp_path / "m")
        assert renamed.exists()
    scratch.sweep(tmp_path / "m")
    assert not renamed.exists()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_have_the_mode_that_the_umask_gives(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with files.new_directory(tmp_path / "m", marker=MARK) as folder:
            (folder / "deep").mkdir(mode=0o700)
            save_file({"x": torch.zeros(2)}, folder / "deep" / "x.safetensors")  # this library writes 0600
            files.write_json(folder / MARK, {})
        files.write_bytes(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    for path, mode in modes.items():
        assert mode == (0o777 if path.is_dir() else 0o666) & ~mask, path


def test_of_several_files_none_is_written_where_one_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_together({tmp_path / "a": b"old a", tmp_path / "b": b"old b"})
    real, written = os.write, []

    def full(file: int, content: bytes) -> int:
        written.append(file)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, content)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        files.write_together({tmp_path / "a": b"new a", tmp_path / "b": b"new b"})
    monkeypatch.undo()
    assert tree(tmp_path) == {"a": b"old a", "b": b"old b"}
    files.write_together({tmp_path / "a": b"new a", tmp_path / "b": b"new b"})
    assert tree(tmp_path) == {"a": b"new a", "b": b"new b"}


def test_what_is_discarded_is_whole_or_has_lost_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.partial").mkdir()
    (tmp_path / "m.partial" / "run.json").write_text("{}")
    monkeypatch.setattr(scratch.shutil, "rmtree", lambda path, **_: None)  # killed before anything was removed
    scratch.discard(tmp_path / "m.partial")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".m.partial.")
    monkeypatch.undo()
    os.utime(left, (time.time() - 10,) * 2)
    monkeypatch.setattr(scratch, "_alive", lambda process: False)
    scratch.sweep(tmp_path / "m.partial")
    assert not left.exists()


def test_a_temporary_folder_of_a_killed_process_goes_with_the_next(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    child = os.fork()
    if child == 0:
        with scratch.temporary_folder() as folder:
            (folder / "rows.npy").write_bytes(b"x")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    os.utime(left, (0, 0))
    with scratch.temporary_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(tmp_path.iterdir())
