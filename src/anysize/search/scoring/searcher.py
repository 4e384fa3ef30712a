"""One staged query over open segments (MRL, Kusupati et al. 2022, section 4.3: adaptive and funnel retrieval)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anysize.core.errors import AnysizeError
from anysize.search.asking.results import Hit, StageReport
from anysize.search.asking.stages import Stage, check_stages, default_stages
from anysize.search.scoring.scan import Scorer, Shortlist, merge
from anysize.search.store.manifest import Manifest
from anysize.search.store.segment import Segment
from anysize.search.store.sparse import check_code, prepared, strongest

_TOGETHER = 128
"""Queries whose first stage is scanned at once, which bounds the scores held in memory."""


class Searcher:
    """Answers checked queries from the segments of one generation."""

    def __init__(self, manifest: Manifest, segments: Sequence[Segment]) -> None:
        self._manifest, self._segments = manifest, segments
        self._scorer = Scorer(segments, manifest.metric)

    def plan(self, k: int, stages: Sequence[Stage] | str | None, *, funnel: bool = False) -> tuple[Stage, ...]:
        """The stages that a search for `k` hits runs, with how many each keeps."""
        nesting, count, sparse = self._manifest.nesting, self._manifest.count, self._manifest.sparse
        if stages is None:
            plan = default_stages(nesting, count, k, funnel=funnel, sparse=None if funnel else sparse)
        else:
            given = Stage.parse_all(stages) if isinstance(stages, str) else stages
            plan = check_stages(given, nesting, min(k, count), sparse)
        return (*plan[:-1], replace(plan[-1], keep=max(1, k)))

    def search(
        self,
        queries: np.ndarray,
        k: int,
        stages: Sequence[Stage] | str | None,
        approximate: str | None,
        encode: Callable[[np.ndarray], Any] | None = None,
    ) -> list[tuple[tuple[Hit, ...], tuple[StageReport, ...]]]:
        """Hits and stage reports of each of `queries` (q, d) float32; `encode` makes their sparse codes if needed."""
        plan = self.plan(k, stages, funnel=approximate is not None)
        codes = encode(queries) if encode is not None and plan[0].active is not None else None
        scanner = self._scanner(plan[0], approximate)
        answers = []
        for start in range(0, len(queries), _TOGETHER):
            some = queries[start : start + _TOGETHER]
            if codes is None:
                firsts = self._first(some, plan[0], scanner)
            else:
                firsts = [self._by_codes(codes[[row]], plan[0]) for row in range(start, start + len(some))]
            answers += [self._rest(query, *first, plan) for query, first in zip(some, firsts, strict=True)]
        return answers

    def _scanner(self, stage: Stage, approximate: str | None) -> str | None:
        if approximate is None:
            return "codes" if stage.dims in self._manifest.codes else None  # a stage over sparse codes has dims 0
        if approximate != "hnsw":
            raise AnysizeError(f"approximate={approximate!r} is unknown; the choice is hnsw")
        if self._manifest.hnsw is None:
            raise AnysizeError("this index has no HNSW graph; build it again with hnsw=True, in the shell --hnsw")
        if stage.dims != self._manifest.hnsw:
            raise AnysizeError(
                f"the HNSW graph is over dims={self._manifest.hnsw}; the first stage has dims={stage.dims}"
            )
        return "hnsw"

    def _first(self, queries: np.ndarray, stage: Stage, scanner: str | None) -> list[tuple[Shortlist, StageReport]]:
        """The first stage of every query: a scan of each segment, the whole batch at once."""
        dims, keep = stage.dims, stage.keep or 1
        found: list[list[Shortlist]] = [[] for _ in queries]
        read, how = np.zeros(len(queries), np.int64), "vectors"
        for number, segment in enumerate(self._segments):
            codes = segment.scanner(f"{scanner}-{dims}") if scanner else None
            if codes is None:
                shortlists, touched = self._scorer.scan(queries, dims, keep, number)
                read += touched
            else:
                how = scanner or how
                prefixes = queries[:, :dims]
                if self._manifest.metric == "cosine":
                    lengths = np.linalg.norm(prefixes, axis=1, keepdims=True)
                    prefixes = prefixes / np.maximum(lengths, np.finfo(np.float32).tiny)
                # Rows deleted since the codes were made still come up, so as many more are asked for.
                asked = (_proposals(keep, segment.rows) if scanner == "codes" else keep) + len(segment.deleted)
                rows, looked = codes.candidates(prefixes, min(segment.rows, asked))
                read += looked
                shortlists = []
                for column, query in enumerate(queries):
                    unscored = self._scorer.unscored(rows[column], number)
                    scored, more = self._scorer.rescore(query, unscored, dims)
                    read[column] += more
                    shortlists.append(scored.best(keep))
            for mine, shortlist in zip(found, shortlists, strict=True):
                mine.append(shortlist)
        count, out = self._manifest.count, []
        for mine, total in zip(found, read.tolist(), strict=True):
            merged = merge(mine, dims).best(keep)
            out.append((merged, StageReport(dims, count, len(merged.rows), total, count * dims, how)))
        return out

    def _by_codes(self, code: Any, stage: Stage) -> tuple[Shortlist, StageReport]:
        """The first stage of one query by its sparse code (1, latents): exact scores of every row."""
        sparse, active, keep = self._manifest.sparse, stage.active, stage.keep or 1
        assert sparse is not None
        assert active is not None
        check_code(code, sparse)
        asked = prepared(code if active >= sparse.active else strongest(code, active), self._manifest.metric)
        found, touched = [], 0
        for number, segment in enumerate(self._segments):
            assert segment.lists is not None
            scores, entries = segment.lists.scores(asked)
            scores[segment.deleted] = -np.inf
            touched += entries
            # Negated: where most items share no latent, NumPy takes 20 times longer past that run of equal zeros.
            rows = np.sort(np.argpartition(-scores, keep)[:keep]) if keep < len(scores) else np.arange(len(scores))
            rows = rows[np.isfinite(scores[rows])]
            zeros = np.zeros(len(rows), np.float32)
            found.append(Shortlist(rows + self._scorer.starts[number], zeros, scores[rows], 0))
        merged = merge(found, 0).best(keep)
        # An entry is a row number and a value, four bytes each.
        report = StageReport(0, self._manifest.count, len(merged.rows), 8 * touched, touched, "sparse", active)
        return merged, report

    def _rest(
        self, query: np.ndarray, shortlist: Shortlist, report: StageReport, plan: Sequence[Stage]
    ) -> tuple[tuple[Hit, ...], tuple[StageReport, ...]]:
        reports = [report]
        for stage in plan[1:]:
            came = len(shortlist.rows)
            scored, read = self._scorer.rescore(query, shortlist, stage.dims)
            shortlist = scored.best(stage.keep or 1)
            reports.append(StageReport(stage.dims, came, len(shortlist.rows), read, came * stage.dims, "rescore"))
        return tuple(self._hit(shortlist, at) for at in shortlist.ranked()), tuple(reports)

    def _hit(self, shortlist: Shortlist, at: int) -> Hit:
        row = int(shortlist.rows[at])
        number = int(np.searchsorted(self._scorer.starts, row, side="right")) - 1
        segment, local = self._segments[number], row - int(self._scorer.starts[number])
        return Hit(segment.id(local), float(shortlist.scores[at]), segment.text(local))


def _proposals(keep: int, rows: int) -> int:
    """
    How many rows codes propose for a shortlist of `keep`, from which the true prefix scores choose.

    Codes misplace a row by more ranks the more rows there are; three times sqrt(rows) was enough at a million.
    """
    return max(4 * keep, 3 * math.isqrt(rows))
