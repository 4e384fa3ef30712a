"""What proposes rows for a batch of queries: codes, a graph, the true prefix, or sparse codes; once for all pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anysize.evaluation.nearest import directions
from anysize.search.asking.plans import Tier
from anysize.search.asking.stages import shortlist_dims
from anysize.search.scoring.propose import propose
from anysize.search.scoring.proposed import Proposed
from anysize.search.scoring.scan import Scorer
from anysize.search.store.manifest import Manifest
from anysize.search.store.sparse import prepared

Lists = tuple[list[Proposed | None], list[int]]
"""What each query is proposed, None where nothing can be, and the bytes that were touched for it."""


class Shortlists:
    """
    Shortlists of `queries`, float64 (q, d) of length 1, for pages of hits; `codes` are the queries' sparse codes.

    `pages` holds the tier of every segment for every page. A scan is made once, for the page that keeps most of it.
    """

    def __init__(
        self,
        manifest: Manifest,
        scorer: Scorer,
        queries: np.ndarray,
        codes: Any | None,
        pages: Sequence[Sequence[Tier]],
    ) -> None:
        self._manifest, self._scorer, self._queries, self._codes = manifest, scorer, queries, codes
        self._dims, self._pages = shortlist_dims(manifest.nesting), pages
        self._made: dict[tuple[int, str], list[Proposed | None]] = {}

    def of(self, number: int, tier: Tier) -> Lists:
        """What segment `number` proposes to each query; nothing is touched again for what was proposed before."""
        if tier.scan == "hnsw":  # a graph that is asked for more finds others
            return self._scan(number, tier.scan, tier.keep)
        touched = [0] * len(self._queries)
        if (number, tier.scan) not in self._made:
            most = max(page[number].keep for page in self._pages if page[number].scan == tier.scan)
            self._made[number, tier.scan], touched = self._scan(number, tier.scan, most)
        return self._made[number, tier.scan], touched

    def _scan(self, number: int, scan: str, keep: int) -> Lists:
        segment = self._scorer.segments[number]
        # Of a query that has next to nothing in the prefix, the prefix tells nothing.
        able = np.flatnonzero(np.linalg.norm(self._queries[:, : self._dims], axis=1) > segment.plans.share)
        some: list[Proposed | None] = []
        read: list[int] = []
        if scan == "sparse":
            some, read = self._by_codes(able, number, keep)
        elif scan == "prefix" and len(able):
            shortlists, touched = self._scorer.scan(self._queries[able], self._dims, keep, number)
            start = self._scorer.starts[number]
            some = [Proposed.ordered(one.rows[one.ranked()] - start) for one in shortlists]
            read = [touched] * len(able)
        elif len(able):
            prefixes = directions(self._queries[able, : self._dims]).astype(np.float32)
            some, touched = propose(segment, f"{scan}-{self._dims}", prefixes, keep)
            read = [touched] * len(able)
        found: list[Proposed | None] = [None] * len(self._queries)
        bytes_read = [0] * len(self._queries)
        for at, one, touched in zip(able.tolist(), some, read, strict=True):
            found[at], bytes_read[at] = one, touched
        return found, bytes_read

    def _by_codes(self, able: np.ndarray, number: int, keep: int) -> Lists:
        """By the queries' sparse codes; None for a query in which no latent is active."""
        segment = self._scorer.segments[number]
        assert segment.lists is not None
        assert self._codes is not None
        found: list[Proposed | None] = []
        touched = []
        for at in able:
            code = prepared(self._codes[[at]], self._manifest.metric)
            rows, scores, entries = segment.lists.best(code, segment.deleted, keep)
            ranked = Proposed.ordered(rows[np.argsort(-scores, kind="stable")])
            found.append(ranked if code.data.any() else None)
            touched.append(8 * entries)
        return found, touched
