"""Data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anysize.cli.about.facts import About

if TYPE_CHECKING:
    from anysize.core.data.data import Data


def about_data(path: Path) -> About:
    """What was read of it, and its notes."""
    from anysize.core.data.read import read

    data = read(path)
    held = {split: sum(map(len, judged.values())) for split, judged in data.qrels.items()}
    facts = {
        "holds": _holds(data),
        "queries": len(data.queries) if data.queries else None,
        "judgements": ", ".join(f"{count} {split}" for split, count in held.items()) or None,
        "labels": len(set(data.labels)) if data.labels else None,
        "notes": list(data.notes) or None,
        "fingerprint": data.fingerprint,
    }
    return About(path, "data", facts, hint=f"anysize fit {path} --out MODEL")


def _holds(data: Data) -> str:
    if data.pairs is not None:
        return f"{len(data.pairs)} {data.pairs.kind}"
    if data.scored is not None:
        return f"{len(data.scored)} scored pairs"
    items = data.items()
    return f"{len(items)} texts" if items.vectors is None else f"{len(items)} vectors of {items.vectors.shape[1]} dims"
