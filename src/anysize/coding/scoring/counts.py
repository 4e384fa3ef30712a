"""
The scorer of RuCCoD (Nesterov et al., arXiv 2502.21263), under its own keys, and figures that are harder to please.

Every document gives sets: of spans, of spans with their codes, and of codes. What two documents share is counted once a
document and summed over all of them (micro). Spans without a code and spans that begin at -1 count on neither side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from anysize.coding.records.documents import Span
from anysize.core.arguments import instance, many, takes
from anysize.core.errors import DataError

KEYS = ("NER", "NER+Linking", "Code assignment")
_SPANS = many(many(instance(Span, words="spans"), "spans"), "a list of spans for each document")
Parts = tuple[frozenset[object], frozenset[object], frozenset[object]]


@dataclass(frozen=True)
class Counts:
    """What the documents of two annotators share: right, wrong and missed, (documents, 3), one column a key."""

    right: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray

    @classmethod
    @takes(gold=_SPANS, found=_SPANS)
    def of(cls, gold: Sequence[Iterable[Span]], found: Sequence[Iterable[Span]]) -> Counts:
        """Documents in one order on both sides. Raises `DataError` where there are not as many, or none."""
        if len(gold) != len(found) or not gold:
            raise DataError(f"{len(found)} documents cannot be scored against {len(gold)}; give one for each, and some")
        rows = [(_parts(one), _parts(other)) for one, other in zip(gold, found, strict=True)]
        sides = [
            [[len(combine(a, b)) for a, b in zip(*row, strict=True)] for row in rows]
            for combine in (frozenset.intersection, lambda a, b: b - a, frozenset.difference)
        ]
        right, wrong, missed = (np.array(side, np.int64).reshape(-1, 3) for side in sides)
        return cls(right, wrong, missed)

    def released(self) -> dict[str, float]:
        """
        The fourteen numbers of the released scorer.

        Its "accuracy" is right / (right + wrong + missed). Its document-level accuracy is the share of documents whose
        gold set is a part of what was found: who finds everything has 1, so never quote it alone.
        """
        said = {
            "Document-level NER accuracy": float((self.missed[:, 0] == 0).mean()),
            "Document-level Code assignment accuracy": float((self.missed[:, 2] == 0).mean()),
        }
        for column, key in enumerate(KEYS):
            right, wrong, missed = (int(part[:, column].sum()) for part in (self.right, self.wrong, self.missed))
            precision, recall = _share(right, right + wrong), _share(right, right + missed)
            said[f"{key} precision"] = precision
            said[f"{key} recall"] = recall
            said[f"{key} F-score"] = _share(2 * precision * recall, precision + recall)
            said[f"{key} accuracy"] = _share(right, right + wrong + missed)
        return said

    def f1(self, key: str) -> np.ndarray:
        """
        Pseudo-values, one a document, whose mean is the micro F1 of a key and whose spread is its own.

        F = sum 2r / sum (2r + w + m) is a ratio of sums; a document moves it by its share of 2r - F (2r + w + m).
        """
        column = KEYS.index(key)
        right, errors = self.right[:, column], self.wrong[:, column] + self.missed[:, column]
        return ratio(2 * right, 2 * right + errors)

    def exact(self, key: str) -> np.ndarray:
        """One for each document whose set was found exactly, with nothing more and nothing less."""
        column = KEYS.index(key)
        return ((self.wrong[:, column] == 0) & (self.missed[:, column] == 0)).astype(np.float64)


def ratio(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Pseudo-values of ``sum(parts) / sum(wholes)``, one a document, whose mean it is; zeros where there is nothing."""
    total = float(wholes.sum())
    if total == 0:
        return np.zeros(len(parts))
    value = float(parts.sum()) / total
    moved: np.ndarray = value + (parts - value * wholes) * (len(parts) / total)
    return moved


def _parts(spans: Iterable[Span]) -> Parts:
    known = [span for span in spans if span.code is not None and span.start != -1]
    return (
        frozenset((span.start, span.end) for span in known),
        frozenset((span.start, span.end, span.code) for span in known),
        frozenset(span.code for span in known),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
