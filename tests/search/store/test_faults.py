"""Damage, full disks, killed writers, writers and readers at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from anysize.core.errors import AnysizeError, CheckpointError
from anysize.search import Index
from anysize.search.store.lock import writing
from tests.search.helpers import NESTING, HashModel, vectors

OLD, NEW = vectors(50), vectors(80, seed=1)


@pytest.fixture
def index(tmp_path):
    return Index.build(tmp_path / "i", None, OLD, nesting=NESTING)


def files_of(path):
    return sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)


def test_every_file_cut_short_is_named_at_open(tmp_path):
    path = tmp_path / "i"
    Index.build(path, HashModel(), ["one dog", "two cats"]).delete(["0"])
    for file in files_of(path):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match=file.name):
            Index.open(path)
        file.write_bytes(content)
    assert len(Index.open(path)) == 1


def test_every_altered_file_is_named_by_verify(tmp_path):
    path = tmp_path / "i"
    Index.build(path, HashModel(), ["one dog", "two cats"]).delete(["0"])
    Index.open(path).verify()
    for file in files_of(path):
        content = file.read_bytes()
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        with pytest.raises(CheckpointError, match=file.name):
            Index.open(path).verify()
        file.write_bytes(content)


def test_a_missing_file_is_named(index):
    victim = next((index.path / "segments").rglob("dims-0-*"))
    victim.unlink()
    with pytest.raises(CheckpointError, match=f"{victim.name} is missing"):
        Index.open(index.path)


def test_what_is_not_an_index_says_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no index.json"):
        Index.open(tmp_path)
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="does not describe"):
        Index.open(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"format": "anysize-index", "version": 9}))
    with pytest.raises(CheckpointError, match="format version 9"):
        Index.open(tmp_path)


def test_a_damaged_manifest_is_cured_by_building_again(index):
    (index.path / "index.json").write_text("{")
    before = files_of(index.path)
    with pytest.raises(AnysizeError, match="NaN"):
        Index.build(index.path, None, NEW * np.nan)
    assert files_of(index.path) == before
    assert len(Index.build(index.path, None, NEW, nesting=NESTING)) == 80
    assert len(list((index.path / "segments").iterdir())) == 1


def test_a_second_writer_is_turned_away(index):
    with writing(index.path):
        for write in (
            lambda: index.add(NEW),
            lambda: index.delete("0"),
            index.compact,
            lambda: Index.build(index.path, None, NEW),
        ):
            with pytest.raises(AnysizeError, match="another process is writing"):
                write()
        assert len(Index.open(index.path)) == 50
    index.add(NEW)


def test_a_reader_keeps_its_generation_while_others_write(index):
    reader = Index.open(index.path)
    before = [hit.id for hit in reader.search(OLD[7], stages="dims=8:20,dims=96").hits]
    index.add(NEW)
    index.delete([str(row) for row in range(40)])
    index.compact()
    Index.build(index.path, None, NEW, nesting=NESTING)
    assert [hit.id for hit in reader.search(OLD[7], stages="dims=8:20,dims=96").hits] == before
    reader.refresh()
    assert len(reader) == 80


def test_an_interrupted_build_leaves_the_old_index_and_nothing_else(index):
    def interrupted():
        yield NEW
        raise KeyboardInterrupt

    before = files_of(index.path)
    for write in (lambda: Index.build(index.path, None, interrupted()), lambda: index.add(interrupted())):
        with pytest.raises(KeyboardInterrupt):
            write()
        assert files_of(index.path) == before
    with pytest.raises(KeyboardInterrupt):
        Index.build(index.path.parent / "new", None, interrupted())
    assert not (index.path.parent / "new").exists()


def run(script, *arguments, **options):
    code = "import sys, numpy as np\nfrom anysize.search import Index\n" + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("call", ["Index.build(path, None, rows())", "Index.open(path).add(rows())"])
def test_a_killed_writer_leaves_the_old_index_and_the_next_one_cleans_up(index, call):
    writer = run(
        f"""
        path = sys.argv[1]
        def rows():
            yield np.ones((5000, 96), np.float32)
            print("writing", flush=True)
            sys.stdin.readline()
        {call}
        """,
        index.path,
        stdin=subprocess.PIPE,
    )
    assert writer.stdout.readline() == "writing\n"
    with pytest.raises(AnysizeError, match="another process is writing"):
        index.delete("1")
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert len(list((index.path / "segments").iterdir())) == 2
    again = Index.open(index.path)
    again.verify()
    assert again.search(OLD[3]).hits[0].id == "3"
    again.add(NEW)
    assert len(again) == 130
    assert len(list((index.path / "segments").iterdir())) == 1  # the leftover is gone, the two segments are merged


def test_a_first_build_that_was_killed_can_be_made_again(tmp_path):
    writer = run(
        """
        def rows():
            yield np.ones((5, 96), np.float32)
            print("writing", flush=True)
            sys.stdin.readline()
        Index.build(sys.argv[1], None, rows())
        """,
        tmp_path / "i",
        stdin=subprocess.PIPE,
    )
    assert writer.stdout.readline() == "writing\n"
    writer.kill()
    writer.communicate()
    with pytest.raises(CheckpointError, match="not an index"):
        Index.open(tmp_path / "i")
    assert len(Index.build(tmp_path / "i", None, NEW)) == 80


def test_a_full_disk_is_one_sentence_and_the_old_index_answers(index):
    writer = run(
        """
        import resource
        from anysize.core.errors import AnysizeError
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        for write in (Index.open(sys.argv[1]).add, lambda rows: Index.build(sys.argv[1], None, rows)):
            try:
                write(np.ones((20000, 96), np.float32))
            except AnysizeError as error:
                print(error)
        """,
        index.path,
    )
    out, err = writer.communicate()
    assert writer.returncode == 0, err
    assert [line[:24] for line in out.splitlines()] == ["no room is left to write"] * 2
    again = Index.open(index.path)
    again.verify()
    assert again.search(OLD[3]).hits[0].id == "3"
    assert len(list((index.path / "segments").iterdir())) == 1


def test_reading_goes_on_while_another_process_writes(index):
    writer = run(
        """
        index = Index.open(sys.argv[1])
        rng = np.random.default_rng(0)
        for turn in range(25):
            index.add(rng.standard_normal((20, 96)), ids=[f"{turn}-{row}" for row in range(20)])
            index.delete([f"{turn}-{row}" for row in range(10)])
            if turn % 5 == 4:
                index.compact()
        """,
        index.path,
    )
    seen = set()
    while writer.poll() is None:
        reader = Index.open(index.path)
        seen.add(reader.manifest.generation)
        assert reader.search(OLD[3]).hits[0].id == "3"
    assert writer.returncode == 0, writer.communicate()[1]
    writer.communicate()
    assert len(seen) > 2
    assert len(Index.open(index.path)) == 50 + 25 * 10
