"""What every back end answers: one staged query (MRL, Kusupati et al. 2022, section 4.3), wherever the vectors are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from anysize.core.sizes.nesting import Nesting
from anysize.search.asking.results import Results
from anysize.search.asking.stages import Stage


@runtime_checkable
class Backend(Protocol):
    """A searchable collection of nested vectors. `Index` is the one on disk; `QdrantIndex` sends the same query on."""

    @property
    def nesting(self) -> Nesting:
        """The sizes that stages may use."""
        ...

    def __len__(self) -> int:
        """Items that can be found."""
        ...

    def search(self, query: str | np.ndarray, k: int = 10, stages: Sequence[Stage] | str | None = None) -> Results:
        """The `k` best items by true full-size score."""
        ...

    def add(self, items: Any, ids: Iterable[object] | None = None) -> None:
        """Append items. Raises `DataError` if an id is taken."""
        ...

    def delete(self, ids: str | Iterable[str]) -> None:
        """Remove items by id. Raises `DataError` if one is unknown."""
        ...
