"""What the manifest says of one segment: which files, how long, and that these agree with its number of rows."""

from __future__ import annotations

import itertools
import re
import secrets
from dataclasses import dataclass
from typing import Any

from anysize.core.digests import Digest
from anysize.search.asking.plans import PAGES, Plans

MOST_ROWS = 1 << 40
_SEGMENT, _DELETED = re.compile(r"\d{6,}-[0-9a-f]{12}"), re.compile(r"deleted-[0-9a-f]{12}\.i64")
_SCANS = ("whole", "codes", "prefix", "hnsw", "sparse")
_FILE = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9]+)+")


def new_segment_name(generation: int) -> str:
    """A name for a segment that no other has had."""
    return f"{generation:06d}-{secrets.token_hex(6)}"


def new_deleted_name() -> str:
    """A name for a file of deleted row numbers."""
    return f"deleted-{secrets.token_hex(6)}.i64"


def is_ours(name: str) -> bool:
    """Whether a thing of this name among the segments is one that a writer made."""
    return bool(_SEGMENT.fullmatch(name) or _DELETED.fullmatch(name))


def block_name(low: int, high: int) -> str:
    """File of the coordinates [low, high) of all rows: float32 (rows, high - low)."""
    return f"dims-{low}-{high}.f32"


def norms_name(dims: int) -> str:
    """File of the lengths of all rows' first `dims` coordinates: float32 (rows,)."""
    return f"norms-{dims}.f32"


@dataclass(frozen=True)
class SegmentEntry:
    """One immutable directory of rows, and the separate file that says which rows are deleted."""

    name: str
    rows: int
    files: dict[str, Digest]
    deleted: str | None = None
    deleted_rows: int = 0
    deleted_file: Digest | None = None
    plans: Plans | None = None
    """How it is searched by default; None in indexes older than the check."""

    @property
    def count(self) -> int:
        """Rows that are not deleted."""
        return self.rows - self.deleted_rows

    @classmethod
    def from_json(cls, value: Any) -> SegmentEntry:
        """Raises `ValueError` for a name that is not one that a writer gives, a count that cannot be, another type."""
        if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
            raise ValueError("a segment lists its files")
        name, rows = value.get("name"), whole(value.get("rows"), MOST_ROWS, least=1)
        files = {_named(file, _FILE): Digest.from_json(digest) for file, digest in value["files"].items()}
        plans = None if value.get("plans") is None else _plans(value["plans"])
        entry = cls(_named(name, _SEGMENT), rows, files, plans=plans)
        if value.get("deleted") is None:
            return entry
        gone, digest = whole(value.get("deleted_rows"), rows, least=1), Digest.from_json(value.get("deleted_file"))
        _check(digest.bytes == 8 * gone, f"{value['deleted']} does not hold {gone} row numbers")
        return cls(entry.name, rows, files, _named(value["deleted"], _DELETED), gone, digest, plans)

    def check(self, bounds: tuple[int, ...], *, norms: bool, texts: bool, latents: int | None) -> None:
        """
        Raise `ValueError` if a file of an index like this is not listed, or cannot hold a value for each row.

        `latents` is how many the index's sparse codes have, None where it has no such codes.
        """
        rows = self.rows
        for low, high in itertools.pairwise(bounds):
            self._holds(block_name(low, high), 4 * rows * (high - low))
            if norms:
                self._holds(norms_name(high), 4 * rows)
        for name in ("ids", *(["texts"] if texts else [])):
            self._holds(f"{name}.utf8")
            self._holds(f"{name}.offsets", 4 * (rows + 1), 8 * (rows + 1))
        if latents is not None:
            self._holds("codes.offsets", 8 * (latents + 1))
            self._holds("codes.rows", self._holds("codes.values"))
            _check(self.files["codes.rows"].bytes % 4 == 0, "codes.rows is not a list of numbers")

    def _holds(self, name: str, *lengths: int) -> int:
        _check(name in self.files, f"{self.name} lacks {name}")
        found = self.files[name].bytes
        _check(not lengths or found in lengths, f"{name} of {found} bytes does not hold {self.rows} rows")
        return found


def whole(value: Any, most: int, *, least: int = 0) -> int:
    """A whole number between two bounds. Raises `ValueError` for anything else."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} is not a whole number from {least} to {most}")
    return value


def _plans(value: Any) -> Plans:
    """Raises `KeyError`, `TypeError` or `ValueError` for what a check at build cannot have found."""
    plans = Plans.from_json(value)
    for tier in (*plans.tiers, *plans.graph):
        whole(tier.keep, MOST_ROWS)
        whole(tier.then, tier.keep)
        _check(tier.scan in _SCANS and isinstance(tier.recall, (int, float)), f"{tier} is not a plan")
    pages = [tuple(tier.hits for tier in tiers) for tiers in (plans.tiers, plans.graph or plans.tiers)]
    _check(pages == [PAGES, PAGES], "a plan lacks a page")
    for factor in dict(plans.proposals).values():
        whole(factor, MOST_ROWS)
    numbers = (plans.share, plans.near, plans.sampled)
    _check(
        all(isinstance(one, (int, float)) for one in numbers) and isinstance(plans.why, str), "a plan says no numbers"
    )
    return plans


def _named(name: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a file that belongs to an index")
    return name


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
