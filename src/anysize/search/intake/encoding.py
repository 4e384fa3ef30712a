"""Queries made vectors by the model of an index, which is loaded when one is first asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.size import Size
from anysize.search.intake.given import check_vectors
from anysize.search.intake.items import embed
from anysize.search.intake.models import at_size, check_model, load_model, load_whole
from anysize.search.intake.parts import Says, alone, check_reads, is_parts, reads
from anysize.search.intake.queries import check_queries
from anysize.search.store.manifest import Manifest


class Models:
    """The model of the index in a directory, at the index's size and at others that queries ask for."""

    def __init__(self, directory: Path, own: Any = None) -> None:
        self._directory, self._given = directory, own
        self._views: dict[str | None, Any] = {} if own is None else {None: own}
        self._warm: set[str | None] = set()

    def at(self, manifest: Manifest, size: Size | str | None = None) -> Any:
        """
        The view at a size, of None at the index's own.

        Raises `SizeError` for a size that it does not offer, `AnysizeError` for a model whose sizes do not compare.
        """
        key = None if size is None else str(size)
        if key not in self._views:
            self._views[key] = load_model(manifest, self._directory) if key is None else self._other(manifest, key)
        return self._views[key]

    def _other(self, manifest: Manifest, size: str) -> Any:
        whole = self._given
        if whole is None:
            whole = load_whole(manifest, self._directory)  # the index's own may hold no more than its size
            check_model(at_size(whole, manifest), manifest, self._directory)
        if not isinstance(whole, Says) or not whole.mixes_sizes:
            raise AnysizeError(
                f"vectors of this model compare at one size alone, and {self._directory} was built at "
                f"{manifest.model_size}; leave the size of the query out"
            )
        view: Any = whole
        return view.at(size)

    def ready(self, manifest: Manifest, queries: list[Any] | np.ndarray, size: Size | str | None) -> None:
        """Load what these need, and what that loads at its first text, before the clock starts: no query pays it."""
        if manifest.source == "vectors" and size is None:
            return
        model, key = self.at(manifest, size), None if size is None else str(size)
        if isinstance(queries, list) and key not in self._warm:
            embed(model, ["a"] if reads(model, "text") else alone(queries[:1]), "query")
            self._warm.add(key)

    def vectors(self, manifest: Manifest, queries: list[Any] | np.ndarray, size: Size | str | None) -> np.ndarray:
        """Queries as they are scored, (q, d): texts and parts embedded, vectors too if those of the items were."""
        if isinstance(queries, list):
            if manifest.source == "vectors":
                raise DataError(f"{self._directory} was built from vectors; search it with a vector, not a text")
            model = self.at(manifest, size)
            if any(map(is_parts, queries)) and reads(model, "image") and not reads(model, "parts"):
                queries = alone(queries)
            elif any(map(is_parts, queries)):
                check_reads(model, "parts")
            queries = embed(model, queries, "query")
        elif manifest.source == "encoded":
            queries = np.asarray(self.at(manifest, size).encode(check_vectors(queries, "query")))
        return check_queries(queries, manifest.nesting.full.dims, manifest.metric)
