"""``anysize look``: one self-contained page to look at a sparse autoencoder with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from anysize.cli.options import Positional
from anysize.core.printable import printable


@dataclass
class Look:
    """
    Write a page that shows a sparse autoencoder: its sizes, its latents one by one, and what they fire on.

    The page is one file that loads nothing. With texts, the encoder that the autoencoder was fitted on reads them.
    """

    sae: Annotated[str, Positional("SAE")]
    """A sparse autoencoder."""
    data: Annotated[str, Positional("DATA")]
    """Texts, or the vectors that it reads."""
    html: Path
    """Where to write the page."""
    texts: Path | None = None
    """Of vectors: a file with the text of each, one a line, to show in place of row numbers."""
    concepts: Path | None = None
    """Names, as `anysize concepts --out` wrote them."""
    rows: int = 20_000
    """Inputs to look through, at most."""
    latents: int = 4096
    """Latents on the page, at most: the most important ones."""

    def run(self) -> Written:
        """Encode, gather, draw."""
        import numpy as np

        from anysize.cli.notes import read_told
        from anysize.cli.verbs.prune import autoencoder
        from anysize.core.files import check_file, write_bytes
        from anysize.core.scratch import temporary_folder
        from anysize.sparse.looking.gather import look
        from anysize.sparse.looking.page import page
        from anysize.sparse.measuring.rebuilt import rows_of, split_of

        check_file(self.html)
        sae, data = autoencoder(self.sae), read_told(self.data)
        with temporary_folder() as scratch:
            found: Any = rows_of(sae, data, scratch)
            inputs = self._inputs(data, len(found))
            step = -(-len(found) // max(1, self.rows))
            x, held_out = np.array(found[::step], np.float32), None
            if sae.about.get("data", {}).get("fingerprint") == data.fingerprint:
                split = split_of(sae, data, scratch)
                left = np.flatnonzero(split.held)
                held_out = np.array(split.rows[left[:: -(-len(left) // max(1, self.rows))]], np.float32)
        looked = look(
            sae, x, inputs[::step], title=Path(self.sae).name, names=_names(self.concepts), most=self.latents,
            held_out=held_out,
        )  # fmt: skip
        content = page(looked).encode()
        write_bytes(self.html, content)
        return Written(str(self.html), len(looked.latents), looked.dead, looked.dense, len(content))

    def _inputs(self, data: Any, count: int) -> list[str]:
        from anysize.core.data.files.unpacking import lines_of
        from anysize.core.errors import DataError

        items = data.items()
        if self.texts is not None:
            lines = [line.rstrip("\r\n") for _, line in lines_of(self.texts)]
            if len(lines) != count:
                raise DataError(f"{self.texts} holds {len(lines)} lines for {count} rows; give one line for each")
            return lines
        kept = [text for text in items.texts or [] if text.strip()]
        return kept if len(kept) == count else [f"row {row}" for row in range(count)]


@dataclass(frozen=True)
class Written:
    """The page, and what it shows at a glance."""

    html: str
    latents: int
    dead: int
    dense: int
    bytes: int

    def text(self) -> str:
        """One line."""
        shown = f"{self.latents} latents, {self.dead} dead, {self.dense} dense, {self.bytes:,} bytes"
        return f"wrote {printable(self.html)}: {shown}"

    def to_json(self) -> dict[str, Any]:
        """The same."""
        return dict(vars(self))


def _names(file: Path | None) -> dict[int, dict[str, Any]]:
    from anysize.core.errors import CheckpointError
    from anysize.core.files import read_json

    if file is None:
        return {}
    try:
        return {int(one["latent"]): one for one in read_json(file, "a list of concepts")["concepts"]}
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{file} is not what `anysize concepts --out` writes ({error!r})") from None
