from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anysize.core.data.files.shards import Shards
from anysize.core.data.files.vectors import read_shards
from anysize.core.data.read import read
from anysize.core.errors import DataError


def write(folder: Path, *parts: np.ndarray) -> Path:
    folder.mkdir()
    for number, part in enumerate(parts):
        np.save(folder / f"{number:03}.npy", part)
    return folder


@pytest.fixture
def whole() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((23, 4)).astype(np.float32)


def test_a_folder_of_shards_reads_as_one_table(tmp_path: Path, whole):
    folder = write(tmp_path / "rows", whole[:10], whole[10:11].astype(np.float64), whole[11:])
    shards = read_shards(folder)
    assert shards.shape == (23, 4)
    np.testing.assert_array_equal(np.asarray(shards), whole)
    places = np.array([22, 0, 10, 9, 11, 0])
    np.testing.assert_array_equal(shards[places], whole[places])
    np.testing.assert_array_equal(shards[8:13], whole[8:13])
    np.testing.assert_array_equal(shards[10], whole[10])
    np.testing.assert_array_equal(shards[whole[:, 0] > 0], whole[whole[:, 0] > 0])


def test_shards_are_mapped_and_have_the_fingerprint_of_their_content(tmp_path: Path, whole):
    np.save(tmp_path / "one.npy", whole)
    data = read(write(tmp_path / "rows", whole[:10], whole[10:]))
    assert data.fingerprint == read(tmp_path / "one.npy").fingerprint
    held = data.items().vectors
    assert isinstance(held, Shards)
    assert all(isinstance(part, np.memmap) for part in held.parts)
    np.testing.assert_array_equal(data.items().take([3, 15]).vectors, whole[[3, 15]])


def test_bad_shards_are_named(tmp_path: Path, whole):
    folder = write(tmp_path / "rows", whole, whole[:, :3])
    with pytest.raises(DataError, match=r"001.npy has vectors of width 3; those before have 4"):
        read(folder)
    (folder / "001.npy").write_bytes((folder / "000.npy").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"001.npy cannot be read"):
        read(folder)
    np.save(folder / "001.npy", np.full((2, 4), np.nan, np.float32))
    with pytest.raises(DataError, match=r"row 23 .* NaN"):
        read(folder)
    np.save(folder / "001.npy", whole[0])
    with pytest.raises(DataError, match=r"001.npy has shape \(4,\)"):
        read(folder)


def test_a_folder_with_other_files_is_no_folder_of_shards(tmp_path: Path, whole):
    folder = write(tmp_path / "rows", whole)
    (folder / "rows.json").write_text("{}")
    assert len(read(folder).items()) == 23
    (folder / "texts.csv").write_text("text")
    with pytest.raises(DataError, match=r"holds no corpus.jsonl"):
        read(folder)
