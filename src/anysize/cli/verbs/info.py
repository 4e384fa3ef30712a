"""``anysize info``: what a path holds, which sizes, who made it, how many bytes each size takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from anysize.cli.options import Positional

if TYPE_CHECKING:
    from anysize.cli.about.facts import About


@dataclass
class Info:
    """Say what a path holds: a nested model, an index, a frontier, data, or an ordinary sentence-transformers model."""

    path: Annotated[Path, Positional("PATH")]
    """A file or a folder."""
    verify: bool = False
    """Of an index: read every byte and compare it with what was written. Other uses read what they need alone."""

    def run(self) -> About:
        """Look for the file that says what it is; nothing but manifests and data is read."""
        from anysize.core.errors import AnysizeError, refused_as_damaged

        if self.verify:
            from anysize.cli.about.index import about_verified

            return about_verified(self.path)
        if not self.path.exists():
            raise AnysizeError(f"{self.path} does not exist")
        with refused_as_damaged(f"what {self.path} says of itself cannot be read"):
            return self._about()

    def _about(self) -> About:
        from anysize.cli.about.data import about_data
        from anysize.cli.about.foreign import about_layout, about_sentence_transformers
        from anysize.cli.about.frontier import about_frontier, is_frontier
        from anysize.cli.about.index import about_index
        from anysize.cli.about.model import about_model
        from anysize.core.errors import AnysizeError
        from anysize.core.registry import names

        if self.path.is_file():
            return about_frontier(self.path) if is_frontier(self.path) else about_data(self.path)
        folders = {
            "anysize.json": about_model,
            "index.json": about_index,
            "modules.json": about_sentence_transformers,
            "corpus.jsonl": about_data,
        }
        for marker, describe in folders.items():
            if any((self.path / name).is_file() for name in (marker, f"{marker}.gz")):
                return describe(self.path)
        if any((self.path / name).is_file() for name in names("layouts")):
            return about_layout(self.path)
        raise AnysizeError(f"{self.path} holds none of {', '.join(folders)}, so it is nothing that anysize knows")
