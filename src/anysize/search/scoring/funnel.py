"""A search by stages that the caller names: a shortlist by a prefix or by sparse codes, rescored with longer ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anysize.evaluation.nearest import directions
from anysize.search.asking.plans import LEAST_SHARE, SHORTEST
from anysize.search.asking.results import StageReport
from anysize.search.asking.stages import Stage
from anysize.search.scoring.propose import propose
from anysize.search.scoring.scan import Scorer, Shortlist, merge
from anysize.search.store.manifest import Manifest
from anysize.search.store.sparse import check_code, prepared, strongest

_WORTH = 8
"""Codes that would propose more than one row in so many are left aside: a scan of the prefix costs no more."""


class Funnel:
    """Runs stages over the segments of one generation."""

    def __init__(self, manifest: Manifest, scorer: Scorer) -> None:
        self._manifest, self._scorer = manifest, scorer

    def search(
        self, queries: np.ndarray, plan: Sequence[Stage], scanner: str | None, codes: Any | None
    ) -> list[tuple[Shortlist, tuple[StageReport, ...]]]:
        """
        Shortlists and reports of `queries`, float64 (q, d) of length 1.

        `scanner` is "codes" or "hnsw" where one may make the shortlist of the first stage, `codes` the queries' sparse
        codes where those do.
        """
        if codes is None:
            firsts = self._first(queries, plan[0], scanner)
        else:
            firsts = [self._by_codes(codes[[row]], plan[0]) for row in range(len(queries))]
        return [self._rest(query, *first, plan[1:]) for query, first in zip(queries, firsts, strict=True)]

    def _first(self, queries: np.ndarray, stage: Stage, scanner: str | None) -> list[tuple[Shortlist, StageReport]]:
        """The first stage of every query: each segment scanned for the whole batch at once."""
        dims, keep, count = stage.dims, stage.keep or 1, self._manifest.count
        prefixes = directions(queries[:, :dims]).astype(np.float32)
        able = np.linalg.norm(queries[:, :dims], axis=1) > LEAST_SHARE
        found: list[list[Shortlist]] = [[] for _ in queries]
        read, how = np.zeros(len(queries), np.int64), ["vectors"] * len(queries)
        for number, segment in enumerate(self._scorer.segments):
            name = f"{scanner}-{dims}"
            asked = segment.plans.proposals.get(name, 0) * max(keep, SHORTEST)
            left = np.ones(len(queries), bool)  # whose prefixes are yet to be scanned
            if scanner and 0 < asked <= segment.rows // _WORTH:
                rows, looked = propose(segment, name, prefixes[able], asked)
                read[able] += looked
                for at, proposed in zip(np.flatnonzero(able), rows, strict=True):
                    some = proposed.first(asked) if proposed else None
                    if some is not None and len(some) >= keep:
                        some = np.sort(some) + self._scorer.starts[number]
                        best, more = self._scorer.narrow(queries[at], some, dims, keep, number)
                        found[at].append(best)
                        read[at] += more
                        left[at], how[at] = False, scanner
            if left.any():
                shortlists, touched = self._scorer.scan(queries[left], dims, keep, number)
                read[left] += touched
                for at, shortlist in zip(np.flatnonzero(left), shortlists, strict=True):
                    found[at].append(shortlist)
        out = []
        for mine, total, what in zip(found, read.tolist(), how, strict=True):
            merged = merge(mine, dims).best(keep)
            out.append((merged, StageReport(dims, count, len(merged.rows), total, count * dims, what)))
        return out

    def _by_codes(self, code: Any, stage: Stage) -> tuple[Shortlist, StageReport]:
        """The first stage of one query by its sparse code (1, latents): exact scores of every row."""
        sparse, active, keep = self._manifest.sparse, stage.active, stage.keep or 1
        assert sparse is not None
        assert active is not None
        check_code(code, sparse)
        asked = prepared(code if active >= sparse.active else strongest(code, active), self._manifest.metric)
        found, touched = [], 0
        for number, segment in enumerate(self._scorer.segments):
            assert segment.lists is not None
            rows, scores, entries = segment.lists.best(asked, segment.deleted, keep)
            touched += entries
            zeros = np.zeros(len(rows))
            found.append(Shortlist(rows + self._scorer.starts[number], zeros, zeros, scores, 0))
        merged = merge(found, 0).best(keep)
        # An entry is a row number and a value, four bytes each.
        report = StageReport(0, self._manifest.count, len(merged.rows), 8 * touched, touched, "sparse", active)
        return merged, report

    def _rest(
        self, query: np.ndarray, shortlist: Shortlist, report: StageReport, stages: Sequence[Stage]
    ) -> tuple[Shortlist, tuple[StageReport, ...]]:
        reports = [report]
        for stage in stages:
            came = len(shortlist.rows)
            scored, read = self._scorer.rescore(query, shortlist, stage.dims)
            shortlist = scored.best(stage.keep or 1)
            reports.append(StageReport(stage.dims, came, len(shortlist.rows), read, came * stage.dims, "rescore"))
        return shortlist, tuple(reports)
