"""Embeddings already computed: kept by text, in memory and (if there is a folder) on disk, so work is done once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anysize.backbones.keeping.cache import VectorCache
from anysize.core.errors import refused_as_damaged
from anysize.core.files import write_bytes


class FeatureStore:
    """Text -> embedding. With a folder, every batch added is one file there, and a later store starts from them."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._rows: dict[bytes, np.ndarray] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob("features-*.npz")) if folder else ():
            with refused_as_damaged(f"the embeddings of an unfinished run in {file} cannot be read; delete that file"):
                # Reading compares the checksums that zip files carry.
                with file.open("rb") as stream, np.load(stream, allow_pickle=False) as shard:
                    keys, vectors = shard["keys"], shard["vectors"]
                self._rows.update(zip((key.tobytes() for key in keys), vectors, strict=True))

    def leave_folder(self) -> None:
        """Write no more there, for example since it goes; what was computed stays in memory."""
        self.folder = None

    def look_up(self, texts: Sequence[str], cache: VectorCache) -> None:
        """Bring here what another process has of these texts in the cache."""
        self._rows.update(cache.take({_key(text) for text in texts} - self._rows.keys()))

    def __contains__(self, text: str) -> bool:
        return _key(text) in self._rows

    def add(self, texts: Sequence[str], vectors: np.ndarray, cache: VectorCache | None = None) -> None:
        """Keep the embeddings, shape (len(texts), d), of these texts, also in the cache if one is given."""
        keys = [_key(text) for text in texts]
        self._rows.update(zip(keys, vectors, strict=True))
        if cache is not None:
            cache.add(keys, vectors)
        if self.folder is not None:
            stream = io.BytesIO()
            np.savez(stream, keys=np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1), vectors=vectors)
            name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
            write_bytes(self.folder / f"features-{name}.npz", stream.getvalue())

    def take(self, texts: Sequence[str]) -> np.ndarray:
        """Their embeddings, shape (len(texts), d); every text must be there."""
        return np.stack([self._rows[_key(text)] for text in texts])


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
