"""
The rows that an autoencoder reads: vectors as they are, or texts through an encoder or a module inside a model.

Texts become .npy shards in a folder, a few thousand at a time, so that a killed run goes on where it stopped, the
whole may be larger than the memory, and another run can use them again. One that is not as it was written is made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.backbones.sentence import Encoder
from anysize.core.data.files.shards import Shards
from anysize.core.data.files.vectors import read_shards
from anysize.core.digests import is_sealed, write_sealed
from anysize.core.errors import AnysizeError, DataError
from anysize.core.files import read_object, write_json
from anysize.core.model.contract import NestedModel
from anysize.core.model.faces import Embeds, Remembers
from anysize.core.model.manifest import MANIFEST
from anysize.core.sides import Side
from anysize.core.training.processes import place, wait
from anysize.core.verbs.load import load

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.sparse.rows.stream import Groups

_TEXTS = 1024  # a shard holds the rows of so many
_NOTE = "rows.json"


@dataclass(frozen=True)
class Source:
    """What turns texts into rows: an encoder, or a module (`site`) of a Hugging Face model, whose tokens are rows."""

    model: str | None = None
    site: str | None = None
    max_length: int = 256
    """Tokens of a text that are read, with a `site`."""
    device: str | None = None
    """Where a model with a `site` runs; without a name on CUDA if it is there."""
    stream: bool = False
    """Whether training read texts group by group without keeping their rows, and left out whole groups."""

    def __post_init__(self) -> None:
        if self.site is not None and self.model is None:
            raise AnysizeError(f"the site {self.site} is a module of a model; name the model too")

    def to_json(self) -> dict[str, Any]:
        """What an autoencoder needs to know of the rows that it reads."""
        return {"model": self.model, "site": self.site, "max_length": self.max_length, "stream": self.stream}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Source:
        """Of what `to_json` says, or of the options of a method, which are all that older models say."""
        known = {name: said[name] for name in ("model", "site", "max_length", "stream") if said.get(name) is not None}
        return cls(**known)

    def of(self, data: Data, folder: Path) -> np.ndarray | Shards:
        """The rows of everything that `data` holds. `folder` keeps those made from texts."""
        items = data.items()
        if items.vectors is not None:
            if self.model is not None:
                raise DataError(f"{data.name} holds vectors already; leave out the model")
            return items.vectors
        return self.rows(readable(data), folder)

    def groups(self, data: Data) -> Groups:
        """The texts of `data` in the groups in which they are read without storing their rows."""
        from anysize.backbones.site import GROUP
        from anysize.sparse.rows.stream import Groups

        return Groups(readable(data), _TEXTS if self.site is None else GROUP)

    def rows(self, texts: Sequence[str], folder: Path) -> np.ndarray | Shards:
        """The rows of texts: one each with an encoder, one for each token with a site."""
        name = self._name()
        if not texts:
            raise DataError("there are no texts to read")
        made = hashlib.sha256(json.dumps([name, self.site, self.max_length, list(texts)]).encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _NOTE).exists():
            write_json(folder / _NOTE, {"made": made})
        elif read_object(folder / _NOTE, "a folder of rows").get("made") != made:
            raise DataError(f"{folder} holds rows of other texts or of another model; name another cache or delete it")
        names = [folder / f"{start // _TEXTS:06}.npy" for start in range(0, len(texts), _TEXTS)]
        rank, world = place()
        mine = [number for number in range(rank, len(names), world) if not is_sealed(names[number])]
        if mine:
            _make(mine, names, texts, self.runner(keep=True))
        wait()  # until the other processes have made theirs
        return read_shards(folder)

    def runner(self, *, keep: bool = False) -> Callable[[list[str]], np.ndarray]:
        """
        What turns a list of texts, which are documents, into rows, with its model loaded.

        An encoder may `keep` in the user's cache what it embeds, for `measure`, which comes next. Raises `AnysizeError`
        if no model is named.
        """
        if self.site is not None:
            from anysize.backbones.site import Site

            return Site(self._name(), self.site, self.max_length, self.device).rows
        encoder = self.encoder()
        if keep:
            keep_embeddings(encoder)
        return partial(embedded, encoder)

    def sentence_transformer(self) -> Any:
        """The encoder as a ``SentenceTransformer``. Raises `AnysizeError` if it is of a kind that cannot be one."""
        encoder = self.encoder()
        return encoder.convert("sentence-transformers") if isinstance(encoder, NestedModel) else encoder.model

    def encoder(self) -> Any:
        """The encoder of texts, loaded. Raises `AnysizeError` if none is named, or something else."""
        name = self._name()
        if not (Path(name) / MANIFEST).exists():
            return Encoder(name)
        encoder: Any = load(name)
        if not isinstance(encoder, Embeds):
            raise AnysizeError(f"{name} holds a {encoder.kind}, which embeds no texts")
        return encoder

    def _name(self) -> str:
        if self.model is None:
            raise AnysizeError("texts need an encoder: name one with --model, for example all-MiniLM-L6-v2")
        return self.model


def keep_embeddings(encoder: Any) -> None:
    """Keep in the user's cache what an encoder, or the one in a model of ours, embeds from now on."""
    inside = encoder.encoder if isinstance(encoder, Embeds) else encoder
    if isinstance(inside, Remembers):
        inside.keep_embeddings()


def embedded(encoder: Any, texts: list[str], side: Side = "document") -> np.ndarray:
    """The rows (n, d) of texts on this side of a search by an encoder."""
    return np.asarray(encoder.encode(texts, side=side), np.float32)


def readable(data: Data) -> list[str]:
    """The texts of `data` that hold something. Raises `DataError` if it holds vectors, or no such text."""
    found = [text for text in data.texts if text.strip()]
    if not found:
        raise DataError("there are no texts to read")
    return found


def _make(missing: Sequence[int], names: list[Path], texts: Sequence[str], run: Callable[[list[str]], Any]) -> None:
    import io

    from anysize.core.progress import bar

    with bar(len(missing), "reading texts", "k texts", show=place()[0] == 0) as shown:
        for number in missing:
            content = io.BytesIO()
            np.save(content, run(list(texts[number * _TEXTS : (number + 1) * _TEXTS])))
            write_sealed(names[number], content.getvalue())
            shown.update(1)
