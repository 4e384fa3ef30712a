"""
`anysize.json`, what a saved model says of itself: read with every value checked, and with a checksum over all of it.

It also records every file beside the weights (an encoder, a tokenizer, adapters) with its digest. Models that were
saved before it did still load; then only their weights are verified. Format 2 says ``facts`` besides, which the first
versions take for an alteration; what a later version adds, this one calls newer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from anysize.core import digests
from anysize.core.digests import Digest
from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.files import read_object, write_json
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

MANIFEST = "anysize.json"
"""The file by which a folder is known to hold a model of ours."""

FORMAT = 2
_NEEDED = ("nesting", "config", "about", "fingerprint", "tensors")
_KNOWN = {*_NEEDED, "format", "kind", "made_by", "facts", "nested", "owned", "header", "files", "sha256"}


def write_manifest(directory: Path, content: Mapping[str, Any], weights: str, header: Digest) -> dict[Path, Digest]:
    """
    Write what a model says of itself into `directory`, beside a record of every file there.

    Only of the file called `weights`, which is verified by the block, merely `header` is recorded.

    Returns the digests of the files, by their path inside the directory, for `digests.remember`.
    """
    files = {
        path.relative_to(directory): digests.record(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, weights)
    }
    value = {
        "format": FORMAT,
        **content,
        "header": header.to_json(),
        "files": {path.as_posix(): digest.to_json() for path, digest in files.items()},
    }
    write_json(directory / MANIFEST, digests.signed(value))
    return files


def read_manifest(directory: Path, kind: str | None = None) -> dict[str, Any]:
    """What a saved model (of this kind) says of itself. Raises `CheckpointError` if it is damaged or of another."""
    path = directory / MANIFEST
    found = read_object(path, "an anysize model")
    if "kind" not in found or "format" not in found:
        raise CheckpointError(f"{path} does not describe a model; it may be damaged")
    if kind is not None and found["kind"] != kind:
        raise CheckpointError(f"{directory} holds a model of kind {found['kind']!r}, not {kind!r}")
    if type(found["format"]) is not int or found["format"] < 1:
        raise CheckpointError(f"{path} says that its format is {found['format']!r}; it may be damaged")
    if found["format"] > FORMAT:
        raise CheckpointError(
            f"{directory} was saved by a newer anysize, in format {found['format']}; this one reads up to {FORMAT}, so "
            "update anysize"
        )
    missing = set(_NEEDED) - found.keys()
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(sorted(missing))}; it may be damaged")
    digests.check_signature(found, path)
    is_whole = ("files" in found) == ("header" in found) == ("sha256" in found)
    unknown = sorted(found.keys() - _KNOWN)
    if unknown and is_whole and "sha256" in found:  # nothing was changed since it was written
        raise CheckpointError(
            f"{directory} was saved by a newer anysize: {path.name} says {unknown[0]}, which this one does not know, "
            "so update anysize"
        )
    if unknown or not is_whole or (found["format"] > 1 and "sha256" not in found):
        raise CheckpointError(f"{path} was altered: it does not say what this format says")
    try:
        _check_values(found)
    except (AnysizeError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path} is damaged or was changed by hand ({_reason(error)})") from None
    return found


class Parts:
    """The files of one saved model beside its weights, as its manifest records them."""

    def __init__(self, directory: Path, manifest: Mapping[str, Any]) -> None:
        self.directory = directory
        self.header = Digest.from_json(manifest["header"]) if "header" in manifest else None
        """Of the file of the weights; see `checkpoint.header_digest`."""
        listed = manifest.get("files")
        self._files = None if listed is None else {name: Digest.from_json(value) for name, value in listed.items()}

    def check_at_loading(self, later: tuple[str, ...]) -> None:
        """Raise `CheckpointError` for a file that was added or altered; folders in `later` may be altered."""
        self._check_names()
        for name, digest in (self._files or {}).items():
            if name.partition("/")[0] not in later:
                digests.check(self.directory / name, digest)

    def check(self, folder: str) -> None:
        """Raise `CheckpointError` unless the files of one folder are those that were saved."""
        for name, digest in (self._files or {}).items():
            if name.partition("/")[0] == folder:
                digests.check(self.directory / name, digest)

    def _check_names(self) -> None:
        if self._files is None:
            return
        for path in sorted(self.directory.rglob("*")):
            name = path.relative_to(self.directory)
            inside = len(name.parts) > 1 or path.is_symlink()
            added = name.as_posix() not in self._files and (path.is_symlink() or not path.is_dir())
            if inside and added and not any(part.startswith(".") for part in name.parts):
                raise CheckpointError(
                    f"{self.directory} was altered: it holds {name}, which was not saved with the model; remove it"
                )


def entries_at(manifest: Mapping[str, Any], size: Size) -> dict[str, Any]:
    """The manifest's entries of the tensors that a size reads, whole or in part."""
    owned = {name: Size(values) for name, values in manifest.get("owned", {}).items()}
    return {name: entry for name, entry in manifest["tensors"].items() if needed(owned.get(name), size)}


def needed(owner: Size | None, chosen: Size) -> bool:
    """Whether a size reads a tensor that belongs to `owner` (to all sizes, if None)."""
    return owner is None or all(owner[axis] <= chosen[axis] for axis in owner)


def wanted_blocks(name: str, entry: Mapping[str, Any], keep: int | None) -> Sequence[Mapping[str, Any]]:
    """The blocks of one tensor that hold its first `keep` slices (all, if None)."""
    blocks: Sequence[Mapping[str, Any]] = entry["blocks"]
    if keep is None:
        return blocks
    last = next((place for place, block in enumerate(blocks) if block["stop"] >= keep), None)
    if last is None:
        raise CheckpointError(f"{name} is stored up to {blocks[-1]['stop']}; it cannot be read up to {keep}")
    return blocks[: last + 1]


def bytes_read(entries: Mapping[str, Any], keep: Mapping[str, int]) -> int:
    """How many bytes of weights `checkpoint.read_blocks` reads for `keep`."""
    return sum(
        block["bytes"] for name, entry in entries.items() for block in wanted_blocks(name, entry, keep.get(name))
    )


def bytes_at(manifest: Mapping[str, Any], size: Size) -> int:
    """How many bytes of weights loading at a size reads."""
    keep = {name: size[axis] for name, (axis, _) in manifest.get("nested", {}).items()}
    return bytes_read(entries_at(manifest, size), keep)


def _check_values(found: Mapping[str, Any]) -> None:
    """Raise an error unless all that is used by its type or looked up has that type and is there."""
    for name, kind in (("kind", str), ("config", dict), ("about", dict), ("fingerprint", str), ("tensors", dict),
                       ("made_by", str), ("nested", dict), ("owned", dict), ("files", dict)):  # fmt: skip
        if name in found and not isinstance(found[name], kind):
            raise ValueError(f"{name} is not {'a text' if kind is str else 'an object'}")
    axes = Nesting.from_json(found["nesting"]).axes
    for name, entry in found["tensors"].items():
        _check_entry(name, entry)
    for name, where in found.get("nested", {}).items():
        if not isinstance(where, list) or len(where) != 2 or where[0] not in axes or type(where[1]) is not int:
            raise ValueError(f"{name} cannot be nested in {where!r}")
    for name, values in found.get("owned", {}).items():
        if not set(Size(values)) <= set(axes):
            raise ValueError(f"{name} cannot belong to {values!r}")
    for name, value in found.get("files", {}).items():
        place = PurePosixPath(name)
        if place.is_absolute() or not place.parts or ".." in place.parts or str(place) != name or "\0" in name:
            raise ValueError(f"{name!r} does not lie in the model's folder")
        Digest.from_json(value)
    if "header" in found:
        Digest.from_json(found["header"])


def _check_entry(name: str, entry: Any) -> None:
    """Raise `ValueError` unless `entry` is what `checkpoint.write_blocks` says of a tensor."""
    if not isinstance(entry, dict) or entry.keys() != {"dim", "dtype", "blocks"}:
        raise ValueError(f"{name} is not described by dim, dtype and blocks")
    if type(entry["dim"]) is not int or entry["dim"] < 0 or not isinstance(entry["dtype"], str):
        raise ValueError(f"{name} has dim {entry['dim']!r} and dtype {entry['dtype']!r}")
    if not isinstance(entry["blocks"], list) or not entry["blocks"]:
        raise ValueError(f"{name} has no blocks")
    last = -1
    for block in entry["blocks"]:
        if not isinstance(block, dict) or block.keys() != {"block", "stop", "bytes", "sha256"}:
            raise ValueError(f"a block of {name} is not described by block, stop, bytes and sha256")
        Digest.from_json({"bytes": block["bytes"], "sha256": block["sha256"]})
        if not isinstance(block["block"], str) or type(block["stop"]) is not int or block["stop"] < max(last, 0):
            raise ValueError(f"the blocks of {name} end at {block['stop']!r} after {last}")
        last = block["stop"]


def _reason(error: Exception) -> str:
    return f"{error!r}" if isinstance(error, KeyError) else " ".join(str(error).split())[:300]
