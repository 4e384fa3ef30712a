"""Files that attack their reader: one sentence each, in bounded time and memory."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from anysize.core.data.files import unpacking
from anysize.core.data.read import read
from anysize.core.errors import DataError


def deep(path):
    path.write_text("[" * 200_000)


CASES = {
    "deep.jsonl": (deep, "nested too deeply"),
    "deep.json": (deep, "nested too deeply"),
    "not.json": (lambda path: path.write_text('{"a": 1}'), "holds one dict; expected a list of objects"),
    "uneven.json": (
        lambda path: path.write_text('{"text": ["a"], "label": []}'),
        "differing length (text: 1, label: 0)",
    ),
    "mixed.json": (lambda path: path.write_text('[{"text": "a"}, 3]'), "entry 2 is int"),
    "latin.csv": (lambda path: path.write_bytes(b"text\ncaf\xe9\n"), "line 2 holds the byte 0xe9"),
    "utf16.csv": (lambda path: path.write_bytes("text\na\n".encode("utf-16")), "not UTF-8"),
    "cut.jsonl.gz": (
        lambda path: path.write_bytes(gzip.compress(b'{"text": "a"}\n' * 999)[:-9]),
        "cannot be read past",
    ),
    "not.jsonl.gz": (lambda path: path.write_text('{"text": "a"}\n'), "cannot be read past line 0"),
    "bytes.jsonl.gz": (lambda path: path.write_bytes(gzip.compress(b"x")[:5]), "cannot be read past line 0"),
    "empty.jsonl": (lambda path: path.touch(), "is empty; expected rows"),
    "empty.json": (lambda path: path.touch(), "is not JSON"),
    "empty.csv.gz": (lambda path: path.write_bytes(gzip.compress(b"")), "is empty; expected rows"),
    "empty.npz": (lambda path: path.touch(), "cannot be read as an npz file"),
    "empty.npy": (lambda path: path.touch(), "is empty"),
    "cut.npz": (lambda path: path.write_bytes(zipped(np.zeros((9, 9), "f"))[:200]), "cannot be read as an npz file"),
    "folder.jsonl": (lambda path: path.mkdir(), "holds no corpus.jsonl"),
    "wide.csv": (lambda path: path.write_text(",".join(f"c{n}" for n in range(10_001)) + "\n"), "at most 10000"),
    "twice.csv": (lambda path: path.write_text(",".join("a" for _ in range(9999)) + "\n"), "'a' 9999 times"),
    "long.npy": (
        lambda path: np.save(path, np.array([[1, 1], [3e38, 3e38]], "f")),
        "row 1 (from 0) has the length 4.24e+38, whose square is too large",
    ),
    "double.npy": (lambda path: np.save(path, np.array([[1.0, 1e300]])), "row 0 (from 0) holds NaN or an infinite"),
}


def zipped(rows) -> bytes:
    held = io.BytesIO()
    np.savez(held, rows)
    return held.getvalue()


def plain(rows) -> bytes:
    held = io.BytesIO()
    np.save(held, rows)
    return held.getvalue()


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_cannot_be_read_is_refused_in_one_sentence(tmp_path, name):
    make, says = CASES[name]
    make(tmp_path / name)
    with pytest.raises(DataError) as error:
        read(tmp_path / name)
    assert says in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


KINDS = {
    "a.jsonl": b'{"anchor": "a", "positive": "b", "negative_1": "c"}\n' * 4,
    "a.json": b'{"query": ["a", "b"], "pos": [["x"], ["y", "z"]], "neg": [["q"], ["r", "s"]]}',
    "a.csv": b'question;answer\n"a";b\nc;"d"\n',
    "a.tsv": b"sentence1\tsentence2\tscore\na\tb\t1\nc\td\t2\n",
    "a.jsonl.gz": gzip.compress(b'{"text": "a"}\n' * 4),
    "a.npz": zipped(np.ones((5, 3), "f")),
    "a.npy": plain(np.ones((5, 3), "f")),
    "a.safetensors": save({"vectors": np.ones((3, 2), "f")}),
}


@given(st.sampled_from(sorted(KINDS)), st.randoms(use_true_random=False))
@settings(max_examples=250)
def test_altered_files_are_read_or_refused_in_one_sentence(tmp_path_factory, name, random):
    content = bytearray(KINDS[name])
    for _ in range(random.randrange(1, 5)):
        place = random.randrange(len(content))
        change = random.randrange(3)
        if change == 0:
            content[place] = random.randrange(256)
        elif change == 1:
            content[place:place] = random.randbytes(3)
        else:
            del content[place : place + random.randrange(1, 9)]
            content = content or bytearray(b"x")
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    said = ""
    try:
        read(path).items()
    except DataError as error:
        said = str(error)
    assert "\n" not in said


def test_shards_too_long_for_float32_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, 2.0], [1e300, 0.0]]))
    with pytest.raises(DataError, match=r"row 1 \(from 0\) holds NaN or an infinite value"):
        read(tmp_path)


def test_nul_bytes_are_characters_like_others(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\u0000b"}\n')
    (tmp_path / "a.csv").write_text("text\na\0b\n")
    assert read(tmp_path / "a.jsonl").texts == read(tmp_path / "a.csv").texts == ["a\0b"]


def test_ten_thousand_columns_take_no_time(tmp_path):
    (tmp_path / "w.csv").write_text(",".join(f"column {number}" for number in range(10_000)) + "\n" + "," * 9999 + "\n")
    begin = time.perf_counter()
    with pytest.raises(DataError, match="and 9992 more"):
        read(tmp_path / "w.csv").items()
    assert time.perf_counter() - begin < 5  # comparing each with each took minutes


BOMB = """
import sys
from anysize.core.data.read import read
from anysize.core.errors import DataError
try:
    read(sys.argv[1])
except DataError as error:
    print(error)
# The peak of this program alone: getrusage counts also what the process held that started it.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_a_gzip_bomb_stops_at_the_limit(tmp_path):
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(b"a" * 1_000_000)
    done = subprocess.run([sys.executable, "-c", BOMB, str(path)], capture_output=True, text=True, check=True)
    said, peak = done.stdout.splitlines()
    assert "unpacks to more than 64 MiB" in said
    assert "ANYSIZE_UNPACK_RATIO above 50" in said
    assert int(peak) < 400_000  # kB


def test_the_limit_follows_the_size_and_can_be_raised(tmp_path, monkeypatch):
    path = tmp_path / "t.jsonl.gz"
    with gzip.open(path, "wb") as file:
        file.write(json.dumps({"text": "a" * 300_000}).encode() + b"\n")
    monkeypatch.setattr(unpacking, "ALWAYS", 1000)
    with pytest.raises(DataError, match="unpack it yourself or set ANYSIZE_UNPACK_RATIO"):
        read(path)
    monkeypatch.setenv("ANYSIZE_UNPACK_RATIO", "2000")
    assert len(read(path).texts[0]) == 300_000


def test_a_line_longer_than_any_record_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "LINE", 100)
    (tmp_path / "t.jsonl").write_text('{"text": "b"}\n{"text": "' + "a" * 200 + '"}\n')
    with pytest.raises(DataError, match=r"line 2 is longer than"):
        read(tmp_path / "t.jsonl")


def test_an_npz_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (100_000, 200)})
        for _ in range(100):
            file.write(bytes(800_000))
    with pytest.raises(DataError, match="unpacks to more than 64 MiB"):
        read(tmp_path / "z.npz")
