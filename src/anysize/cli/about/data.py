"""Data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anysize.cli.about.facts import About

if TYPE_CHECKING:
    pass


def about_data(path: Path) -> About:
    """What was read of it, and its notes."""
    from anysize.core.data.read import read

    data = read(path)
    held = {split: sum(map(len, judged.values())) for split, judged in data.qrels.items()}
    facts = {
        "holds": data.holds,
        "queries": len(data.queries) if data.queries else None,
        "judgements": ", ".join(f"{count} {split}" for split, count in held.items()) or None,
        "labels": len(set(data.labels)) if data.labels else None,
        "notes": list(data.notes) or None,
        "fingerprint": data.fingerprint,
    }
    return About(path, "data", facts, hint=f"anysize fit {path} --out MODEL")
