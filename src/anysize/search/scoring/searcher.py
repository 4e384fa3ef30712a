"""Answers queries over open segments: by the plans checked at build, or by stages (MRL, section 4.3) that are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anysize.core.errors import AnysizeError
from anysize.search.asking.results import Hit, StageReport
from anysize.search.asking.stages import Stage, check_stages
from anysize.search.intake.queries import scaled
from anysize.search.scoring.funnel import Funnel
from anysize.search.scoring.pages import Pages
from anysize.search.scoring.scan import Scorer, Shortlist
from anysize.search.store.manifest import Manifest
from anysize.search.store.segment import Segment

_TOGETHER = 128
"""Queries that are scanned at once, which bounds the scores held in memory."""

_Answer = tuple[tuple[Hit, ...], tuple[StageReport, ...]]


class Searcher:
    """Answers checked queries from the segments of one generation."""

    def __init__(self, manifest: Manifest, segments: Sequence[Segment]) -> None:
        self._manifest, self._segments = manifest, segments
        self._scorer = Scorer(segments, manifest.metric)
        self._funnel, self._pages = Funnel(manifest, self._scorer), Pages(manifest, self._scorer)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        stages: Sequence[Stage] | str | None,
        approximate: str | None,
        encode: Callable[[np.ndarray], Any] | None = None,
    ) -> list[_Answer]:
        """Hits and stage reports of each of `queries` (q, d) float64; `encode` makes their sparse codes if needed."""
        self._check_graph(approximate)
        directions, lengths = scaled(queries, self._manifest.metric)
        plan = self._plan(k, stages)
        scanner = self._scanner(plan[0], approximate) if plan else None
        if plan and plan[-1].active is not None:
            lengths = np.ones(len(queries))  # its scores are of the queries' sparse codes, which were not scaled
        codes = None
        if encode is not None and (plan[0].active is not None if plan else approximate is None):
            codes = encode(queries.astype(np.float32))
        answers: list[_Answer] = []
        for start in range(0, len(queries), _TOGETHER):
            rows = slice(start, start + _TOGETHER)
            some = None if codes is None else codes[rows]
            found: list[tuple[tuple[Shortlist, ...], tuple[StageReport, ...]]]
            if plan:
                found = [((one,), said) for one, said in self._funnel.search(directions[rows], plan, scanner, some)]
            else:
                found = self._pages.search(directions[rows], k, some, graph=approximate is not None)
            for (pages, reports), length in zip(found, lengths[rows].tolist(), strict=True):
                answers.append((tuple(hit for page in pages for hit in self._hits(page, length)), reports))
        return answers

    def _plan(self, k: int, stages: Sequence[Stage] | str | None) -> tuple[Stage, ...]:
        """The stages that a search for `k` hits runs, with how many each keeps; none for the checked plans."""
        nesting, count, sparse = self._manifest.nesting, self._manifest.count, self._manifest.sparse
        if stages is not None:
            given = Stage.parse_all(stages) if isinstance(stages, str) else stages
            plan = check_stages(given, nesting, min(k, count), sparse)
        elif sparse is not None and not sparse.vectors:
            plan = (Stage(active=sparse.active),)
        else:
            return ()
        return (*plan[:-1], replace(plan[-1], keep=k))

    def _check_graph(self, approximate: str | None) -> None:
        if approximate is None:
            return
        if approximate != "hnsw":
            raise AnysizeError(f"approximate={approximate!r} is unknown; the choice is hnsw")
        if self._manifest.hnsw is None:
            raise AnysizeError("this index has no HNSW graph; build it again with hnsw=True, in the shell --hnsw")

    def _scanner(self, stage: Stage, approximate: str | None) -> str | None:
        if approximate is None:
            return "codes" if stage.dims in self._manifest.codes else None  # a stage over sparse codes has dims 0
        if stage.dims != self._manifest.hnsw:
            raise AnysizeError(
                f"the HNSW graph is over dims={self._manifest.hnsw}; the first stage has dims={stage.dims}"
            )
        return "hnsw"

    def _hits(self, shortlist: Shortlist, length: float) -> Iterator[Hit]:
        """Best first."""
        ranked = shortlist.ranked()
        rows, scores = shortlist.rows[ranked], shortlist.scores[ranked] * length
        numbers = np.searchsorted(self._scorer.starts, rows, side="right") - 1
        local = rows - self._scorer.starts[numbers]
        for number, row, score in zip(numbers.tolist(), local.tolist(), scores.tolist(), strict=True):
            segment = self._segments[number]
            yield Hit(segment.id(row), score, segment.text(row))
