"""
The search without stages: each segment by the plan that was checked when it was built, true scores for every hit.

Hits come in pages (see `PAGES`): a later page never reorders an earlier one, so that the answer for k hits is the
beginning of the answer for more, whatever k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anysize.search.asking.plans import PAGES, Tier
from anysize.search.asking.results import StageReport
from anysize.search.asking.stages import shortlist_dims
from anysize.search.scoring.scan import Scorer, Shortlist, merge, unscored
from anysize.search.scoring.shortlists import Shortlists
from anysize.search.store.manifest import Manifest


@dataclass
class _Found:
    """What one query has so far on one page."""

    best: list[Shortlist] = field(default_factory=list)
    """The best rows of each segment, in order of segments."""
    shortlists: dict[str, list[int]] = field(default_factory=dict)
    """Of each kind of shortlist: rows that it was made from, rows that it holds, bytes and multiply-adds."""
    scanned: int = 0
    """Rows whose whole vectors were scanned."""
    read: int = 0
    """Bytes of whole vectors."""


class Pages:
    """Answers queries from the segments of one generation by their plans."""

    def __init__(self, manifest: Manifest, scorer: Scorer) -> None:
        self._manifest, self._scorer = manifest, scorer
        self._dims = shortlist_dims(manifest.nesting)

    def search(
        self, queries: np.ndarray, k: int, codes: Any | None, *, graph: bool
    ) -> list[tuple[tuple[Shortlist, ...], tuple[StageReport, ...]]]:
        """
        Pages of hits and the reports of `queries`, float64 (q, d) of length 1; `codes` are their sparse codes.

        `graph` shortlists with the HNSW graph where its check passed.
        """
        plans = [segment.plans.hits_by(graph=graph) for segment in self._scorer.segments]
        if all(plan[0].scan == "whole" for plan in plans):
            return [((page,), reports) for page, reports in self._page(queries, [Tier(k)] * len(plans), k, None)]
        bounds = [last for before, last in zip((0, *PAGES), (*PAGES, k), strict=True) if before < k]
        pages = [[plan[at] if at < len(plan) else Tier(last) for plan in plans] for at, last in enumerate(bounds)]
        shortlists = Shortlists(self._manifest, self._scorer, queries, codes, pages)
        out: list[tuple[tuple[Shortlist, ...], tuple[StageReport, ...]]] = [((), ()) for _ in queries]
        for before, last, tiers in zip((0, *bounds), bounds, pages, strict=False):
            room = min(last, k) - before
            for at, (found, reports) in enumerate(self._page(queries, tiers, last, shortlists)):
                shown = np.concatenate([np.zeros(0, np.int64), *(page.rows for page in out[at][0])])
                new = found.at(np.flatnonzero(~np.isin(found.rows, shown))).best(room)
                out[at] = ((*out[at][0], new), (*out[at][1], *reports))
        return out

    def _page(
        self, queries: np.ndarray, tiers: Sequence[Tier], hits: int, shortlists: Shortlists | None
    ) -> list[tuple[Shortlist, tuple[StageReport, ...]]]:
        """The best `hits` rows of every query, each segment by its tier."""
        found = [_Found() for _ in queries]
        for number, (segment, tier) in enumerate(zip(self._scorer.segments, tiers, strict=True)):
            left = set(range(len(queries)))
            if shortlists and tier.scan != "whole":
                left -= self._shortlisted(queries, number, tier, hits, shortlists, found)
            if left:
                rest = sorted(left)
                best, touched = self._scorer.scan(queries[rest], self._manifest.dims, hits, number)
                for at, shortlist in zip(rest, best, strict=True):
                    found[at].best.append(shortlist)
                    found[at].scanned += segment.rows - len(segment.deleted)
                    found[at].read += touched
        return [self._reported(one, hits) for one in found]

    def _shortlisted(
        self, queries: np.ndarray, number: int, tier: Tier, hits: int, shortlists: Shortlists, found: list[_Found]
    ) -> set[int]:
        """Answer what queries a shortlist of segment `number` can; which those are."""
        segment, start = self._scorer.segments[number], int(self._scorer.starts[number])
        alive, answered = segment.rows - len(segment.deleted), set()
        for at, (proposed, touched) in enumerate(zip(*shortlists.of(number, tier), strict=True)):
            mine = proposed.first(tier.keep) if proposed else None
            if mine is None or len(mine) < min(hits, alive):  # of equal scores at the cut none are kept
                continue
            mine = np.sort(mine) + start
            best = unscored(mine)
            if tier.then:
                best, more = self._scorer.narrow(queries[at], mine, self._dims, tier.then, number)
                touched += more
            scored, more = self._scorer.rescore(queries[at], best, self._manifest.dims)
            found[at].read += more
            # Of a query that is far from all rows, of which no sampled row was, the check tells nothing either.
            if len(mine) and scored.scores.max() < segment.plans.near:
                continue
            found[at].best.append(scored.best(hits))
            adds = touched // 8 if tier.scan == "sparse" else alive * self._dims
            adds += len(mine) * self._dims if tier.then else 0
            so_far = found[at].shortlists.setdefault(tier.scan, [0, 0, 0, 0])
            so_far[:] = [a + b for a, b in zip(so_far, (alive, len(best.rows), touched, adds), strict=True)]
            answered.add(at)
        return answered

    def _reported(self, found: _Found, hits: int) -> tuple[Shortlist, tuple[StageReport, ...]]:
        page = merge(found.best, self._manifest.dims).best(hits)
        reports, came, dims = [], found.scanned, self._manifest.dims
        for scan, (rows, kept, read, adds) in found.shortlists.items():
            came += kept
            name = "vectors" if scan == "prefix" else scan
            sparse = self._manifest.sparse if scan == "sparse" else None
            width, active = (0, sparse.active) if sparse else (self._dims, None)
            reports.append(StageReport(width, rows, kept, read, adds, name, active))
        how = "rescore" if reports else "vectors"
        reports.append(StageReport(dims, came, len(page.rows), found.read, came * dims, how))
        return page, tuple(reports)
