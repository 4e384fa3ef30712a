"""
The check at build: which plan finds, for sampled rows as queries, what a scan of the whole rows finds.

Tried in this order, with growing shortlists: codes (or sparse codes), then the true prefix; else whole rows are
scanned. A long shortlist by codes is cut by the true prefix first, if that loses too little to matter. Of equal scores
the earlier row is the one to find, so a plan that loses that order among copies is refused too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anysize.evaluation.nearest import directions
from anysize.search.asking.plans import ERRORS, GOAL, LEAST_SHARE, MARGIN, PAGES, SHORTEST, Plans, Tier, whole
from anysize.search.asking.stages import shortlist_dims
from anysize.search.intake.queries import scaled
from anysize.search.scoring.propose import propose
from anysize.search.scoring.proposed import Proposed
from anysize.search.scoring.scan import Scorer
from anysize.search.store.codes import MIN_ROWS
from anysize.search.store.manifest import Manifest
from anysize.search.store.segment import Segment

_SAMPLE, _FEWER = 200, 64
_KEEPS = (100, 200, 400, 800, 1600, 3200, 6400)
"""Shortlists that are tried, if they are twice as long as what they answer."""
_FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Proposals that are tried, in lengths of the shortlist by true prefix scores that they are for."""
_WORTH = 8
"""A shortlist of more than one row in so many saves nothing over a scan of all."""


def check(segment: Segment, manifest: Manifest) -> Plans | None:
    """The plans of a segment that was just written; None where there are no vectors to be true to."""
    if not manifest.dims:
        return None
    if segment.rows < MIN_ROWS:
        return whole(f"fewer than {MIN_ROWS:,} rows")
    rows = np.sort(np.random.default_rng(0).choice(segment.rows, _SAMPLE, replace=False))
    rows = rows[segment.norms(manifest.dims, rows) > 0]
    if not len(rows):
        return whole("the sampled rows are zeros")
    return _Check(segment, manifest, rows).plans()


class _Check:
    def __init__(self, segment: Segment, manifest: Manifest, rows: np.ndarray) -> None:
        self._segment, self._manifest, self._rows = segment, manifest, rows
        self._scorer = Scorer([segment], manifest.metric)
        self._queries = scaled(segment.vectors(rows).astype(np.float64), manifest.metric)[0]
        self._dims = shortlist_dims(manifest.nesting)
        self._most = segment.rows // _WORTH
        self._best: dict[str, float] = {}
        self._standing: np.ndarray | None = None

    def plans(self) -> Plans:
        manifest = self._manifest
        kinds = ["sparse"] if manifest.sparse else []
        if self._dims < manifest.dims and not manifest.sparse:
            kinds = ["codes", "prefix"] if self._dims in manifest.codes else ["prefix"]
        share = self._shares(self._dims)
        known = share[share > LEAST_SHARE]
        if not len(known):
            return whole(f"the first {self._dims} coordinates of the sampled rows are zeros")
        # What all but one in a hundred of the rows have there, less a tenth: with less, none like it was tried.
        least = max(LEAST_SHARE, 0.9 * float(np.quantile(known, 0.01)))
        asked = np.flatnonzero(share > least)
        scored = self._scorer.scan(self._queries[asked], manifest.dims, PAGES[-1] + 1, 0)[0]
        true = [one.rows for one in self._others(asked, [Proposed.ordered(one.rows[one.ranked()]) for one in scored])]
        first = [one.scores[one.rows != self._rows[place]].max() for place, one in zip(asked, scored, strict=True)]
        near = float(np.quantile(first, 0.01)) if first else 0.0
        tiers = self._tiers(kinds, asked, true)
        graph = self._tiers(["hnsw"], asked, true) if manifest.hnsw else ()
        tried = ", ".join(f"{kind} found {recall:.3f}" for kind, recall in self._best.items())
        why = f"of what whole rows find for {len(asked)} sampled rows, {tried}" if tried else "no shortlist is shorter"
        return Plans(tiers, graph, self._proposals(), least, near - abs(near) / 4, len(asked), why)

    def _tiers(self, kinds: Sequence[str], asked: np.ndarray, true: list[np.ndarray]) -> tuple[Tier, ...]:
        tiers: list[Tier] = []
        for hits in PAGES:
            tried = kinds if not tiers or tiers[-1].keep else ()
            found = (self._tier(kind, hits, asked, true) for kind in tried)
            tiers.append(next((tier for tier in found if tier), Tier(hits)))
        return tuple(tiers)

    def _tier(self, kind: str, hits: int, asked: np.ndarray, true: list[np.ndarray]) -> Tier | None:
        """The shortest shortlist of this kind that finds enough, if there is one."""
        counts = (1, hits) if hits == PAGES[0] else (hits,)
        keeps = [keep for keep in _KEEPS if 2 * hits <= keep <= self._most]
        places: np.ndarray | None = None
        for keep in keeps if len(asked) else ():
            if places is None or kind == "hnsw":  # a graph finds others if it is asked for more
                places = _places(true, self._ranked(kind, asked, keep if kind == "hnsw" else keeps[-1]))
            cuts = [then for then in keeps if 2 * then <= keep] if kind in ("codes", "hnsw") else []
            for then in (*cuts, 0):
                inside = places < keep
                if then:  # among fewer rows, a row stands no further back by its true prefix
                    inside &= self._by_prefix(asked, true) < then
                recall = min(float(inside[:, :count].mean()) for count in counts)
                if recall >= GOAL + MARGIN and _surely(inside[:, :hits]):
                    return Tier(hits, kind, keep, then, round(recall, 4))
            if hits == PAGES[0]:
                self._best[kind] = recall
        return None

    def _by_prefix(self, asked: np.ndarray, true: list[np.ndarray]) -> np.ndarray:
        """Where the true rows stand by their true prefix, as `_places`."""
        if self._standing is None:
            most = min(_KEEPS[-1] // 2, self._most)
            self._standing = _places(true, self._ranked("prefix", asked, most))
        return self._standing

    def _ranked(self, kind: str, asked: np.ndarray, keep: int) -> list[Proposed]:
        """At least `keep` rows, if there are so many, for each of the sampled rows `asked`, itself left out."""
        if kind == "prefix":
            return self._scanned(asked, self._dims, keep)
        if kind == "sparse":
            lists = self._segment.lists
            assert lists is not None
            codes = lists.codes()
            found = []
            for place in asked:
                rows, scores, _ = lists.best(codes[[self._rows[place]]], self._segment.deleted, keep + 1)
                found.append(Proposed.ordered(rows[np.argsort(-scores, kind="stable")]))
            return self._others(asked, found)
        dims = self._manifest.hnsw if kind == "hnsw" else self._dims
        return self._proposed(asked, f"{kind}-{dims}", int(dims or 0), keep)

    def _proposed(self, asked: np.ndarray, name: str, dims: int, keep: int) -> list[Proposed]:
        prefixes = directions(self._queries[asked, :dims]).astype(np.float32)
        found = propose(self._segment, name, prefixes, keep + 1)[0]
        nothing = Proposed.ordered(np.zeros(0, np.int64))
        return self._others(asked, [nothing if one is None or one.first(keep) is None else one for one in found])

    def _scanned(self, asked: np.ndarray, dims: int, keep: int) -> list[Proposed]:
        found = self._scorer.scan(self._queries[asked], dims, keep + 1, 0)[0]
        return self._others(asked, [Proposed.ordered(shortlist.rows[shortlist.ranked()]) for shortlist in found])

    def _others(self, asked: np.ndarray, found: list[Proposed]) -> list[Proposed]:
        return [one.without(int(self._rows[place])) for place, one in zip(asked, found, strict=True)]

    def _shares(self, dims: int) -> np.ndarray:
        return np.linalg.norm(self._queries[:, :dims], axis=1)

    def _proposals(self) -> dict[str, int]:
        """How many times a shortlist by the true prefix each scanner has to propose; without those that fail."""
        names = {f"codes-{dims}": dims for dims in self._manifest.codes}
        if self._manifest.hnsw:
            names[f"hnsw-{self._manifest.hnsw}"] = self._manifest.hnsw
        proposals = {}
        for name, dims in names.items():
            asked = np.flatnonzero(self._shares(dims) > LEAST_SHARE)[:: max(1, _SAMPLE // _FEWER)]
            if not len(asked):
                continue
            true = [one.rows for one in self._scanned(asked, dims, SHORTEST)]
            lengths = [factor * SHORTEST for factor in _FACTORS if factor * SHORTEST <= self._most]
            places: np.ndarray | None = None
            for keep in lengths:
                if places is None or name.startswith("hnsw"):
                    most = keep if name.startswith("hnsw") else lengths[-1]
                    places = _places(true, self._proposed(asked, name, dims, most))
                inside = places < keep
                if float(inside.mean()) >= GOAL + MARGIN and _surely(inside):
                    proposals[name] = keep // SHORTEST
                    break
        return proposals


def _surely(inside: np.ndarray) -> bool:
    """Whether the share of true, bool (queries, rows), reaches the goal by some standard errors over queries."""
    each = inside.mean(axis=1)
    return float(each.mean() - ERRORS * each.std() / len(each) ** 0.5) >= GOAL


def _places(true: list[np.ndarray], found: list[Proposed]) -> np.ndarray:
    """Where each true row stands among those found, int64 (queries, rows); past all of them where it is not."""
    out = np.full((len(true), min(map(len, true))), np.iinfo(np.int64).max)
    for line, wanted, one in zip(out, true, found, strict=True):
        rows = one.rows
        order = np.argsort(rows)
        at = np.minimum(np.searchsorted(rows, wanted[: len(line)], sorter=order), len(rows) - 1)
        if len(rows):
            same = rows[order[at]] == wanted[: len(line)]
            line[same] = one.last[order[at][same]]
    return out
