from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from anysize.core.errors import CheckpointError
from anysize.core.model import checkpoint
from anysize.core.model.checkpoint import Cuts, read_blocks, write_blocks
from anysize.core.model.manifest import bytes_read

CUTS = {"rows": Cuts(0, (2, 4, 8)), "columns": Cuts(1, (2, 8))}


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "rows": torch.randn(8, 3, generator=generator),
        "columns": torch.randn(3, 8, generator=generator).to(torch.bfloat16),
        "whole": torch.arange(5),
        "scalar": torch.tensor(3.5),
    }


def flip(path, block):
    """Invert one byte in the middle of a stored block."""
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    start, stop = json.loads(content[8 : 8 + length])[block]["data_offsets"]
    content[8 + length + (start + stop) // 2] ^= 0xFF
    path.write_bytes(content)


def test_all_comes_back_bit_for_bit(tmp_path, tensors):
    entries = json.loads(json.dumps(write_blocks(tmp_path, tensors, CUTS)))
    found = read_blocks(tmp_path, entries, {})
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_a_part_is_the_slice(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    found = read_blocks(tmp_path, entries, {"rows": 4, "columns": 2})
    assert torch.equal(found["rows"], tensors["rows"][:4])
    assert torch.equal(found["columns"], tensors["columns"][:, :2])
    assert torch.equal(found["whole"], tensors["whole"])


def test_bytes_are_those_of_the_slices(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    rest = tensors["whole"].nbytes + tensors["scalar"].nbytes
    assert bytes_read(entries, {"rows": 2, "columns": 2}) == 2 * 3 * 4 + 3 * 2 * 2 + rest
    assert bytes_read(entries, {}) == sum(tensor.nbytes for tensor in tensors.values())


def test_an_altered_byte_is_found_only_where_it_is_read(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    flip(tmp_path / checkpoint.WEIGHTS, "rows[4:8]")
    assert torch.equal(read_blocks(tmp_path, entries, {"rows": 4})["rows"], tensors["rows"][:4])
    with pytest.raises(CheckpointError, match=r"was altered: rows\[4:8\] no longer matches"):
        read_blocks(tmp_path, entries, {"rows": 8})


def test_a_scalar_is_verified_too(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    flip(tmp_path / checkpoint.WEIGHTS, "scalar[0:1]")
    with pytest.raises(CheckpointError, match="scalar"):
        read_blocks(tmp_path, entries, {})


def test_a_length_between_two_cuts_reads_the_blocks_it_needs_and_cuts_the_last(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    flip(tmp_path / checkpoint.WEIGHTS, "rows[4:8]")
    read = read_blocks(tmp_path, entries, {"rows": 3})["rows"]
    assert torch.equal(read, tensors["rows"][:3])
    assert read.untyped_storage().nbytes() == read.nbytes  # the rest of the block is not kept
    assert bytes_read({"rows": entries["rows"]}, {"rows": 3}) == tensors["rows"][:4].nbytes
    with pytest.raises(CheckpointError, match=r"rows\[4:8\] no longer matches"):
        read_blocks(tmp_path, entries, {"rows": 5})
    with pytest.raises(CheckpointError, match=r"rows is stored up to 8; it cannot be read up to 9"):
        read_blocks(tmp_path, entries, {"rows": 9})


@pytest.mark.parametrize("left", [0, 5, 200, -1])
def test_a_file_cut_short_is_refused(tmp_path, tensors, left):
    entries = write_blocks(tmp_path, tensors, CUTS)
    path = tmp_path / checkpoint.WEIGHTS
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        read_blocks(tmp_path, entries, {})


def test_a_missing_file_is_refused(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    (tmp_path / checkpoint.WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="is missing; copy the whole directory again"):
        read_blocks(tmp_path, entries, {})


def test_a_header_longer_than_the_file_is_refused(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    path = tmp_path / checkpoint.WEIGHTS
    path.write_bytes((1 << 40).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        read_blocks(tmp_path, entries, {})


def test_a_block_that_the_file_lacks_is_refused(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    write_blocks(tmp_path, {name: value for name, value in tensors.items() if name != "rows"}, CUTS)
    with pytest.raises(CheckpointError, match=r"cannot be read \(it lacks rows\[0:2\]\)"):
        read_blocks(tmp_path, entries, {})


def test_a_block_that_the_manifest_lacks_is_refused(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    some = {"rows": entries["rows"]}
    assert read_blocks(tmp_path, some, {}, known=entries).keys() == {"rows"}
    with pytest.raises(CheckpointError, match=r"it holds \S+\[0:\d+\] and \d+ more, of which the manifest knows"):
        read_blocks(tmp_path, some, {})


def test_cuts_that_would_lose_rows_are_refused(tmp_path, tensors):
    with pytest.raises(CheckpointError, match="rows has 8 slices but its largest size keeps 4; none may be lost"):
        write_blocks(tmp_path, tensors, {"rows": Cuts(0, (2, 4))})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.uint8, torch.bool])
def test_every_precision_comes_back(tmp_path, dtype):
    tensor = torch.arange(12).reshape(6, 2).to(dtype)
    entries = write_blocks(tmp_path, {"x": tensor}, {"x": Cuts(0, (1, 6))})
    found = read_blocks(tmp_path, entries, {"x": 6})["x"]
    assert found.dtype == dtype
    assert torch.equal(found, tensor)
    assert torch.equal(read_blocks(tmp_path, entries, {"x": 1})["x"], tensor[:1])


def test_a_transposed_tensor_is_stored_as_it_reads(tmp_path):
    tensor = torch.randn(4, 6).T
    entries = write_blocks(tmp_path, {"x": tensor}, {"x": Cuts(1, (1, 4))})
    assert torch.equal(read_blocks(tmp_path, entries, {"x": 4})["x"], tensor)


def test_the_file_is_plain_safetensors(tmp_path, tensors):
    write_blocks(tmp_path, tensors, CUTS)
    found = load_file(tmp_path / checkpoint.WEIGHTS)
    assert torch.equal(found["rows[2:4]"], tensors["rows"][2:4])


def test_what_is_read_can_be_written(tmp_path, tensors):
    entries = write_blocks(tmp_path, tensors, CUTS)
    for tensor in read_blocks(tmp_path, entries, {}).values():
        tensor.zero_()
    assert torch.equal(read_blocks(tmp_path, entries, {})["rows"], tensors["rows"])
