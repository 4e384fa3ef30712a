"""The files of an index: few descriptors, digests checked when read, links and manifests that point elsewhere."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from anysize.search.store.codes import MIN_ROWS
from anysize.search.store.manifest import SEGMENTS, commit, read_manifest
from anysize.search.store.stored import _mapped
from tests.search.helpers import NESTING, HashModel, scores, vectors
from tests.search.scoring.test_sparse import WIDTH, SparseModel

OLD = Path(__file__).parent / "data" / "old-indexes.zip"


def shattered(path: Path, count: int) -> np.ndarray:
    """An index of `count` segments of one row each, made by hand since additions merge them; returns its rows."""
    rows = vectors(count)
    Index.build(path, None, rows[:1], nesting=NESTING, ids=["0"])
    manifest = read_manifest(path)
    entries = []
    for number, row in enumerate(rows):
        Index.build(path.parent / "one", None, row[None], nesting=NESTING, ids=[str(number)])
        (entry,) = read_manifest(path.parent / "one").segments
        shutil.copytree(path.parent / "one" / SEGMENTS / entry.name, path / SEGMENTS / entry.name)
        entries.append(entry)
    commit(path, manifest.__class__(**{**vars(manifest), "segments": tuple(entries), "next_id": count}))
    return rows


def run(script: str, *arguments: object) -> str:
    code = "import resource, sys, numpy as np\nfrom anysize.search import Index\n" + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_more_segments_than_descriptors_are_opened_searched_changed_and_merged(tmp_path):
    rows = shattered(tmp_path / "i", 15)
    query = vectors(1, seed=3)[0]
    np.save(tmp_path / "query.npy", query)
    said = run(
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        index, query = Index.open(sys.argv[1]), np.load(sys.argv[2])
        print(len(index.segments), [hit.id for hit in index.search(query, k=5).hits])
        for row in range(6):
            index.add(np.eye(96, dtype=np.float32)[row][None], ids=[f"new {row}"])
        index.delete([f"new {row}" for row in range(6)])
        print(len(index), [hit.id for hit in index.search(query, k=5).hits])
        index.compact()
        print(len(index.segments), [hit.id for hit in index.search(query, k=5).hits])
        """,
        tmp_path / "i",
        tmp_path / "query.npy",
    )
    best = str([str(row) for row in np.argsort(-scores(rows, query))[:5]])
    assert said.splitlines() == [f"15 {best}", f"15 {best}", f"1 {best}"]


def test_more_maps_than_the_system_gives_are_one_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with (tmp_path / "file").open("rb") as stream, pytest.raises(AnysizeError, match="--compact INDEX"):
        _mapped(stream.fileno(), 1 << 60, "file")


def test_indexes_of_the_first_version_open_answer_and_change(tmp_path):
    shutil.unpack_archive(OLD, tmp_path)
    index = Index.open(tmp_path / "texts", HashModel())
    index.verify()
    texts = [f"item {n} of {w}" for n in range(20) for w in ("cats", "dogs")]
    there = {str(row): text for row, text in enumerate(texts)} | {"late-2": "a late dog", "42": "one more"}
    del there["3"]
    assert {hit.id: hit.text for hit in index.search("a late dog", k=100).hits} == there
    assert index.search("a late dog").hits[0].id == "late-2"
    index.add(["a new cat"])
    index.delete(["0"])
    index.compact()
    assert index.search("a new cat").hits[0].id == "43"
    assert len(index) == len(there)

    rng = np.random.default_rng(0)
    rows = rng.integers(-2, 3, (MIN_ROWS, 36)).astype(np.float32)
    rows[:, 0] = 1
    coded = Index.open(tmp_path / "codes")
    coded.verify()
    found = coded.search(rows[7], k=1, stages="dims=32:300,dims=36")
    assert found.hits[0].id == "7"
    assert found.hits[0].score == pytest.approx(1)


@pytest.fixture(scope="module", params=["texts", "codes", "sparse"])
def whole(request, tmp_path_factory):
    """An index with every kind of file, and a search that reads all of them."""
    path = tmp_path_factory.mktemp("whole") / request.param
    if request.param == "texts":
        Index.build(path, HashModel(), ["one dog", "two cats", "a hen"]).delete(["0"])
        return path, lambda: Index.open(path, HashModel()).search("two cats")
    if request.param == "sparse":
        Index.build(path, SparseModel(), vectors(30, WIDTH))
        query = vectors(1, WIDTH, seed=1)[0]
        return path, lambda: Index.open(path, SparseModel()).search(query, k=3, stages=f"active=8:20,dims={WIDTH}")
    Index.build(path, None, vectors(MIN_ROWS, 40), nesting=Nesting(dims=(32, 40)), hnsw=True, block=8)
    query = vectors(1, 40, seed=1)[0]

    def ask():
        index = Index.open(path)
        index.search(query, approximate="hnsw")
        return index.search(query, stages="dims=32:200,dims=40")

    return path, ask


def test_a_flipped_bit_in_any_file_is_refused_by_name_when_it_is_read(whole):
    path, ask = whole
    before = ask().hits
    unread = set()

    def search_and_verify(name: str) -> None:
        assert ask().hits == before
        unread.add(name)
        Index.open(path).verify()

    files = [file for file in (path / SEGMENTS).rglob("*") if file.is_file() and file.stat().st_size]
    for file in files:
        content = file.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises(CheckpointError, match=f"{file.name} was altered"):
                search_and_verify(file.name)
        file.write_bytes(content)
    assert ask().hits == before
    # A search needs not the lengths of every prefix; all else it did read.
    assert {name.partition("-")[0] for name in unread} <= {"norms"}
    assert len(unread) < len(files) // 2


def test_damage_is_not_copied_into_new_files_with_good_digests(tmp_path):
    path = tmp_path / "i"
    Index.build(path, None, vectors(5), nesting=NESTING)
    file = next((path / SEGMENTS).rglob("dims-0-*"))
    content = file.read_bytes()
    file.write_bytes(b"\0" * len(content))
    for change in (
        lambda index: index.compact(),
        lambda index: index.add(vectors(9, seed=1)),
        lambda index: index.upsert(vectors(9), list("abcdefghi")),
    ):
        index = Index.open(path)
        with pytest.raises(CheckpointError, match=f"{file.name} was altered"):
            change(index)
    file.write_bytes(content)
    assert len(Index.open(path)) == 5


@pytest.fixture
def precious(tmp_path):
    folder = tmp_path / "precious"
    (folder / "000001-0123456789ab").mkdir(parents=True)
    (folder / "000001-0123456789ab" / "thesis.txt").write_text("years of work")
    (folder / "deleted-0123456789ab.i64").write_text("more")
    return folder


def content_of(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_segments_behind_a_link_are_refused_and_nothing_there_is_touched(tmp_path, precious):
    before = content_of(precious)
    Index.build(tmp_path / "i", None, vectors(3), nesting=NESTING)
    index = Index.open(tmp_path / "i")
    shutil.rmtree(tmp_path / "i" / SEGMENTS)
    (tmp_path / "i" / SEGMENTS).symlink_to(precious)
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / SEGMENTS).symlink_to(precious)
    (tmp_path / "fresh" / ".anysize-index.lock").touch()
    for write in (
        lambda: Index.build(tmp_path / "i", None, vectors(3)),
        lambda: Index.build(tmp_path / "fresh", None, vectors(3)),
        lambda: index.add(vectors(2)),
        lambda: index.delete("0"),
        index.compact,
        lambda: Index.open(tmp_path / "i"),
    ):
        with pytest.raises(CheckpointError, match="symbolic link"):
            write()
        assert content_of(precious) == before


def test_links_and_strangers_among_the_segments_lose_nothing(tmp_path, precious):
    before = content_of(precious)
    index = Index.build(tmp_path / "i", None, vectors(3), nesting=NESTING)
    home = tmp_path / "i" / SEGMENTS
    (home / "000009-0123456789ab").symlink_to(precious)  # the name of a leftover, which is removed: the link alone
    (home / "000008-0123456789ab").mkdir()
    (home / "000008-0123456789ab" / "inner").symlink_to(precious)
    (home / "notes.txt").write_text("mine")
    index.add(vectors(2, seed=1))
    assert content_of(precious) == before
    assert (home / "notes.txt").read_text() == "mine"
    assert not [path for path in home.iterdir() if path.name.startswith(("000008", "000009"))]


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    index = Index.build(tmp_path / "i", None, vectors(3), nesting=NESTING)
    (tmp_path / "i" / ".anysize-index.lock").unlink()
    (tmp_path / "i" / ".anysize-index.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AnysizeError, match="symbolic link"):
        index.add(vectors(1))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("change", ["build", "add", "delete", "compact"])
def test_a_change_that_is_to_be_seen_does_not_raise(tmp_path, change, monkeypatch):
    """The manifest has its name before the folder is flushed, so a disk that cannot flush it undoes nothing."""
    path, rows = tmp_path / "i", vectors(5)
    index = Index.build(path, None, rows, nesting=NESTING)
    fsync, failed = os.fsync, []

    def failing(file: int) -> None:
        if os.path.samestat(os.fstat(file), path.stat()):
            failed.append(file)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(file)

    monkeypatch.setattr(os, "fsync", failing)
    if change == "build":
        index = Index.build(path, None, rows[:2], nesting=NESTING)
    elif change == "add":
        index.add(vectors(7)[5:])
    elif change == "delete":
        index.delete(["0"])
    else:
        index.compact()
    assert failed
    count = {"build": 2, "add": 7, "delete": 4, "compact": 5}[change]
    assert len(index) == len(Index.open(path)) == count


def test_the_index_json_of_another_program_is_not_replaced(tmp_path):
    (tmp_path / "index.json").write_text('{"pages": []}')
    with pytest.raises(CheckpointError, match="not ours to replace"):
        Index.build(tmp_path, None, vectors(2))
    assert (tmp_path / "index.json").read_text() == '{"pages": []}'


def forged(path: Path, change) -> None:
    """Change a manifest and give it the checksum of what it says now, as who means harm would."""
    value = json.loads((path / "index.json").read_text())
    del value["sha256"]
    change(value)
    value["sha256"] = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    (path / "index.json").write_text(json.dumps(value))


def test_a_forged_manifest_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "i"
    Index.build(path, HashModel(), ["one dog", "two cats"]).delete(["0"])
    shutil.copytree(path / SEGMENTS, tmp_path / "outside")
    kept = (path / "index.json").read_text()
    outside = f"../../outside/{json.loads(kept)['segments'][0]['name']}"

    def segment(key, value):
        return lambda manifest: manifest["segments"][0].__setitem__(key, value)

    def file(old, new):
        def change(manifest):
            files = manifest["segments"][0]["files"]
            files[new] = files.pop(old)

        return change

    def digest(key, value):
        return lambda manifest: manifest["segments"][0]["files"]["ids.utf8"].__setitem__(key, value)

    def plans(key, value):
        return lambda manifest: manifest["segments"][0]["plans"].__setitem__(key, value)

    def plan(key, value):
        return lambda manifest: manifest["segments"][0]["plans"]["tiers"][1].__setitem__(key, value)

    def whole(key, value):
        return lambda manifest: manifest.__setitem__(key, value)

    changes = [
        *(segment("name", name) for name in (outside, "/etc", "..", "", 7, None, str(tmp_path / "outside"))),
        *(segment("rows", rows) for rows in (10**9, -1, 0, "2", 2.0, True, None, 10**400)),
        *(segment("deleted", name) for name in ("../deleted-0123456789ab.i64", "/etc/passwd", 3)),
        *(segment("deleted_rows", rows) for rows in (-1, 0, 2, "1", None)),
        *(segment("deleted_file", value) for value in (None, [], {"bytes": 8}, {"bytes": 8, "sha256": "x"})),
        *(segment("files", value) for value in (None, [], {}, {"ids.utf8": 3})),
        *(file("ids.utf8", name) for name in ("../ids.utf8", "/etc/passwd", "a/b.c", "ids.txt", ".ids.utf8")),
        *(digest("bytes", value) for value in (-1, "9", None, 1 << 80)),
        *(digest("sha256", value) for value in (None, "", "g" * 64)),
        *(whole("segments", value) for value in (None, 3, [3], ["x"], {"a": 1})),
        *(whole("bounds", value) for value in (None, [], [0], [0, 8], [0, -8, 32], [8, 32], [0, 32.0], ["0", "32"])),
        *(whole("codes", value) for value in (None, [0], [99], ["8"])),
        *(whole("hnsw", value) for value in (0, 99, "8")),
        *(whole("sparse", value) for value in ([3], {"latents": 0}, {"latents": 8, "active": 99, "vectors": True})),
        *(whole("metric", value) for value in (None, "l2", 3)),
        *(whole("source", value) for value in (None, "files")),
        *(whole("next_id", value) for value in (None, -1, "3")),
        *(whole("generation", value) for value in (None, -1, 1e9)),
        *(whole("model_path", value) for value in (3, ["x"])),
        *(whole("nesting", value) for value in (None, 3, {}, {"sizes": [], "weights": []}, {"sizes": [{"dims": -1}]})),
        lambda manifest: manifest["segments"][0]["files"].pop("dims-0-32.f32"),
        *(segment("plans", value) for value in (3, "x", [], {"tiers": 3}, {"tiers": [], "graph": []})),
        *(
            plan(key, value)
            for key, value in (("scan", "x"), ("keep", -5), ("keep", "5"), ("then", 9999), ("hits", 7), ("recall", "x"))
        ),
        *(plans(key, value) for key, value in (("share", "x"), ("near", None), ("proposals", 3), ("why", 3), ("x", 1))),
    ]
    for change in changes:
        forged(path, change)
        with pytest.raises(CheckpointError, match=r"damaged|was changed|cut short") as refused:
            Index.open(path)
        assert "\n" not in str(refused.value)
        (path / "index.json").write_text(kept)
    assert len(Index.open(path)) == 1


def test_forged_contents_are_refused_too(tmp_path):
    """A digest that fits says who wrote the content, not that it makes sense."""

    def replaced(path: Path, name: str, content: bytes) -> None:
        (file,) = (path / SEGMENTS).rglob(name)
        file.write_bytes(content)
        entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

        def change(manifest):
            (segment,) = manifest["segments"]
            if name in segment["files"]:
                segment["files"][name] = entry
            else:
                segment["deleted_file"] = entry

        forged(path, change)

    Index.build(tmp_path / "t", HashModel(), ["one dog", "two cats", "a hen"]).delete(["0", "1"])
    for rows in ([0, 0], [1, 0], [-1, 0], [0, 3], [0, 1 << 60]):
        replaced(tmp_path / "t", "deleted-*.i64", np.array(rows, np.int64).tobytes())
        with pytest.raises(CheckpointError, match="rows that are not there"):
            Index.open(tmp_path / "t", HashModel()).search("two cats")
    replaced(tmp_path / "t", "deleted-*.i64", np.array([0, 1]).tobytes())
    replaced(tmp_path / "t", "ids.utf8", b"\xff\xff\xff")
    with pytest.raises(CheckpointError, match="not UTF-8"):
        Index.open(tmp_path / "t", HashModel()).search("two cats")

    Index.build(tmp_path / "s", SparseModel(), vectors(30, WIDTH))
    (file,) = (tmp_path / "s" / SEGMENTS).rglob("codes.rows")
    rows = np.frombuffer(file.read_bytes(), np.int32).copy()
    rows[3] = 10**9
    replaced(tmp_path / "s", "codes.rows", rows.tobytes())
    with pytest.raises(CheckpointError, match="rows that are not there"):
        Index.open(tmp_path / "s", SparseModel()).search(vectors(1, WIDTH)[0], k=1, stages=f"active=8:9,dims={WIDTH}")


def test_a_folder_that_has_the_length_of_a_file_is_none(tmp_path):
    from anysize.core.digests import Digest
    from anysize.search.store.stored import Stored

    (tmp_path / "ids.offsets").mkdir()
    with pytest.raises(CheckpointError, match="is no file"):
        Stored(str(tmp_path / "ids.offsets"), Digest((tmp_path / "ids.offsets").stat().st_size, "0" * 64))
