"""A file is what was written, or it is refused; a check that passed is not made twice, and never taken on trust."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from anysize.core import digests
from anysize.core.digests import Digest, Identity
from anysize.core.errors import CheckpointError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a user's cache that is empty, and a process that remembers nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _forget(monkeypatch)
    return tmp_path / "cache" / "anysize" / "digests"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for every file that is read in order to hash it."""
    seen: list[str] = []
    real = hashlib.file_digest

    def counting(stream, name):
        seen.append(stream.name)
        return real(stream, name)

    monkeypatch.setattr(hashlib, "file_digest", counting)
    return seen


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a new process knows."""
    monkeypatch.setattr(digests, "_cache", digests._Cache())


def _file(path: Path, content: bytes = b"some content", age: float = 10) -> Digest:
    """A file that was last written to so many seconds ago, as far as its times tell."""
    path.write_bytes(content)
    time.sleep(0.03)  # the time of change cannot be set, and must lie back as well
    os.utime(path, (time.time() - age,) * 2)
    time.sleep(0.03)
    return Digest(len(content), hashlib.sha256(content).hexdigest())


def test_a_record_is_the_length_and_the_sha256_and_survives_json(tmp_path: Path) -> None:
    expected = _file(tmp_path / "a")
    assert digests.record(tmp_path / "a") == expected
    assert Digest.from_json(expected.to_json()) == expected


@pytest.mark.parametrize("value", [
    None, [], {}, "x", {"bytes": 1}, {"bytes": 1, "sha256": "0" * 64, "more": 1}, {"bytes": -1, "sha256": "0" * 64},
    {"bytes": True, "sha256": "0" * 64}, {"bytes": 1.0, "sha256": "0" * 64}, {"bytes": 1, "sha256": "0" * 63},
    {"bytes": 1, "sha256": "0" * 64 + "\n"}, {"bytes": 1, "sha256": "G" * 64}, {"bytes": 1, "sha256": 5},
    {"bytes": 10**30, "sha256": "0" * 64},
])  # fmt: skip
def test_what_is_not_a_record_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"digest|bytes|SHA-256"):
        Digest.from_json(value)


def test_each_kind_of_damage_is_refused_by_the_file_s_name(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    expected = _file(path)
    digests.check(path, expected)
    for content, word in ((b"some contenT", "altered"), (b"some", "4 bytes instead of 12"), (b"", "0 bytes")):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=word) as refused:
            digests.check(path, expected)
        assert str(path) in str(refused.value)
    path.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        digests.check(path, expected)
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"data\.bin"):
        digests.check(path, expected)


def test_an_unchanged_file_is_hashed_once_in_all_processes(
    cache: Path, tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    expected = _file(path)
    digests.check(path, expected)
    digests.check(path, expected)
    _forget(monkeypatch)
    digests.check(path, expected)
    assert len(hashed) == 1
    assert cache.stat().st_mode & 0o777 == 0o600
    code = "import sys; from anysize.core import digests as d; from pathlib import Path; p = Path(sys.argv[1])\n"
    code += "i = d.Identity.of(p); print(d._cache.holds(i, d.Digest(12, sys.argv[2])))"
    said = subprocess.run([sys.executable, "-c", code, path, expected.sha256], capture_output=True, text=True)
    assert said.stdout == "True\n", said


def test_a_remembered_check_says_nothing_of_another_digest_or_another_file(
    cache: Path, tmp_path: Path, hashed: list[str]
) -> None:
    expected = _file(tmp_path / "a")
    digests.check(tmp_path / "a", expected)
    with pytest.raises(CheckpointError, match="altered"):
        digests.check(tmp_path / "a", Digest(12, hashlib.sha256(b"SOME content").hexdigest()))
    assert _file(tmp_path / "b") == expected
    digests.check(tmp_path / "b", expected)
    assert len(hashed) == 3


def test_a_change_that_keeps_length_and_times_is_seen(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "a"
    expected = _file(path)
    digests.check(path, expected)
    before = path.stat()
    path.write_bytes(b"SOME content")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CheckpointError, match="altered"):
        digests.check(path, expected)


def test_a_file_that_was_just_written_is_not_remembered_by_its_reader(cache: Path, tmp_path: Path) -> None:
    """Within one tick of the clock a second change would leave the same times."""
    path = tmp_path / "a"
    for _ in range(50):
        expected = Digest(12, hashlib.sha256(b"some content").hexdigest())
        path.write_bytes(b"some content")
        digests.check(path, expected)
        path.write_bytes(b"SOME content")
        with pytest.raises(CheckpointError, match="altered"):
            digests.check(path, expected)


def test_a_writer_s_word_is_taken(
    cache: Path, tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_WORTH_WAITING", 0)
    (tmp_path / "a").write_bytes(b"some content")
    expected = Digest(12, hashlib.sha256(b"some content").hexdigest())
    digests.remember({tmp_path / "a": expected, tmp_path / "absent": expected})
    _forget(monkeypatch)
    digests.check(tmp_path / "a", expected)
    assert not hashed
    (tmp_path / "a").write_bytes(b"SOME content")
    with pytest.raises(CheckpointError, match="altered"):
        digests.check(tmp_path / "a", expected)


def test_a_mapped_file_is_checked_by_what_was_mapped(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "a"
    expected = _file(path)
    with path.open("rb") as stream:
        seen, content = Identity.of(stream.fileno()), np.memmap(stream, np.uint8, "r")
    path.unlink()
    wrong = Digest(12, "0" * 64)
    with pytest.raises(CheckpointError, match="altered"):
        digests.check_mapped(path, content, seen, wrong)
    digests.check_mapped(path, content, seen, expected)
    digests.check_mapped(path, b"known by now, and not read", seen, expected)
    with pytest.raises(CheckpointError, match="12 bytes instead of 13"):
        digests.check_mapped(path, content, seen, Digest(13, expected.sha256))


@pytest.mark.parametrize("harm", ["absent", "cut short", "garbage", "open to others", "a link", "a folder", "no place"])
def test_a_cache_that_cannot_be_used_costs_time_and_nothing_else(
    harm: str, cache: Path, tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    expected = _file(path)
    digests.check(path, expected)
    if harm == "absent":
        cache.unlink()
    elif harm == "cut short":
        cache.write_bytes(cache.read_bytes()[:-3])
    elif harm == "garbage":
        cache.write_bytes(os.urandom(160))
    elif harm == "open to others":
        cache.chmod(0o666)
    elif harm == "a link":
        cache.rename(cache.with_name("elsewhere"))
        cache.symlink_to(cache.with_name("elsewhere"))
    elif harm == "a folder":
        cache.unlink()
        cache.mkdir()
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    _forget(monkeypatch)
    digests.check(path, expected)
    assert len(hashed) == 2
    path.write_bytes(b"SOME content")
    with pytest.raises(CheckpointError, match="altered"):
        digests.check(path, expected)
    assert path.read_bytes() == b"SOME content"
    if harm in ("absent", "cut short"):
        assert cache.stat().st_size == 16  # in use again


def test_the_cache_keeps_the_newest_and_stays_small(
    cache: Path, tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_MOST", 8)
    written = [(tmp_path / str(number), _file(tmp_path / str(number), bytes([number]) * 5)) for number in range(20)]
    for path, expected in written:
        digests.check(path, expected)
        assert cache.stat().st_size <= 8 * 16
    assert [path.name for path in cache.parent.iterdir()] == ["digests"]
    hashed.clear()
    _forget(monkeypatch)
    for path, expected in written[-4:]:
        digests.check(path, expected)
    assert not hashed


def test_opening_many_known_files_again_is_cheap(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a check adds to opening each of 800 files, beside a cache that is full: under 5 ms on a quiet machine."""
    files = {tmp_path / str(number): b"%d" % number for number in range(800)}
    known = {}
    for path, content in files.items():
        path.write_bytes(content)
        known[path] = Digest(len(content), hashlib.sha256(content).hexdigest())
    time.sleep(0.05)
    digests.remember(known)
    with cache.open("ab") as stream:
        stream.write(os.urandom(16 * (digests._MOST - 800)))
    identities = [(Identity.of(path), digest) for path, digest in known.items()]
    times = []
    for _ in range(7):
        _forget(monkeypatch)
        start = time.perf_counter()
        for (identity, digest), path in zip(identities, files, strict=True):
            digests.check_mapped(path, b"not read", identity, digest)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02  # the machine may be busy


def test_a_sealed_folder_is_checked_file_by_file(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "c" / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (tmp_path / "c" / name).write_bytes(b"some content")
    digests.check_seal(tmp_path / "c")  # not sealed
    digests.seal(tmp_path / "c")
    digests.check_seal(tmp_path / "c")
    for name in ("a", "deep/b", digests.SEAL):
        whole = (tmp_path / "c" / name).read_bytes()
        for harmed in (whole[:-2], whole.replace(b"e", b"E", 1)):
            (tmp_path / "c" / name).write_bytes(harmed)
            with pytest.raises(CheckpointError, match=name):
                digests.check_seal(tmp_path / "c")
        (tmp_path / "c" / name).write_bytes(whole)
    for content in ({"../a": {"bytes": 1, "sha256": "0" * 64}}, {"/etc/passwd": {}}, {"a": 3}, {"a": {"bytes": -1}}):
        (tmp_path / "c" / digests.SEAL).write_text(json.dumps(digests.signed(content)))
        with pytest.raises(CheckpointError, match=r"digests\.json"):
            digests.check_seal(tmp_path / "c")


def test_a_signature_is_over_all_the_rest() -> None:
    value = digests.signed({"a": 1.5, "b": ["x", {"c": None}]})
    digests.check_signature(value, Path("f"))
    digests.check_signature({"a": 1}, Path("f"))  # carries none
    for changed in ({**value, "a": 1.25}, {**value, "more": 1}, {**value, "sha256": "0" * 64}, {**value, "b": ["x"]}):
        with pytest.raises(CheckpointError, match="f was altered"):
            digests.check_signature(changed, Path("f"))
