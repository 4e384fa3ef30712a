"""What an autoencoder reads: vectors as they are, and texts by the encoder that it was fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.arguments import ROWS, TEXTS, as_float32, takes
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sides import Side
from anysize.sparse.rows.source import Source, embedded, keep_embeddings


class TextRows:
    """Adds to a model the rows that it reads of texts."""

    about: dict[str, Any]
    _source: Source | None = None
    _encoder: tuple[Any, ...] = ()
    """Loaded when first needed; in a tuple, for it may be a model, and is no part of this one."""

    @takes(inputs=TEXTS | ROWS)
    def features(self, inputs: Sequence[str] | np.ndarray, *, side: Side | None = None) -> np.ndarray:
        """
        The vectors (n, d) that this autoencoder reads: those given, or those of texts by the encoder it was fitted on.

        It was fitted on documents, so that is what texts are unless a `side` says otherwise. Raises `AnysizeError` for
        texts if it was fitted on vectors, and so knows of no encoder.
        """
        if not isinstance(inputs, list):
            return as_float32(inputs)
        return embedded(self._loaded_encoder(), inputs, side or "document")

    def window(self, side: Side | None = "document") -> Any:
        """How much of a text the encoder reads. Raises `AnysizeError` as `features` does."""
        return self._loaded_encoder().window(side or "document")

    def keep_embeddings(self) -> None:
        """Take from the user's cache what the encoder embedded before, and keep there what it embeds."""
        keep_embeddings(self._loaded_encoder())

    @property
    def source(self) -> Source:
        """What makes the rows that it reads of texts. Older models say so in `about` alone."""
        return self._source or Source.from_json(self.about.get("options", {}))

    @source.setter
    def source(self, source: Source) -> None:
        self._source, self._encoder = source, ()

    @property
    def kept_in(self) -> Path | None:
        """
        Where fitting kept the rows of its texts, one by one; None if nowhere, or if they were pairs.

        Only `about` says so: how a model was made may name a folder of that machine, but `config` says what it is, and
        its fingerprint goes by that.
        """
        options = self.about.get("options", {})
        cache = options.get("cache")
        return Path(cache) if cache and options.get("positives") != "pair" else None

    def _loaded_encoder(self) -> Any:
        if self.source.site is not None:
            raise AnysizeError("this autoencoder reads tokens, several for a text; give it the vectors of each")
        if self.source.model is None:
            raise DataError("this autoencoder was fitted on vectors and knows of no encoder; give it vectors")
        if not self._encoder:
            self._encoder = (self.source.encoder(),)
        return self._encoder[0]
