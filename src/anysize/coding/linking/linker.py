"""From a mention to codes with their shares: shortlist, cosine and tf-idf over the candidates, and a vote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anysize.coding.linking.names import SHORT, Names
from anysize.coding.linking.ngrams import Ngrams, cosines
from anysize.coding.linking.vote import Vote
from anysize.coding.records.dictionary import CodeDictionary
from anysize.coding.records.documents import normalised

LEXICAL = 1 << 18
"""Buckets of the tf-idf term."""


class Priors:
    """How often training mentions had a code, and a category; how many codes the dictionary has below one."""

    def __init__(self, names: Names) -> None:
        self.code: Counter[int] = Counter()
        for one in names.entries[names.rows :]:
            for code, count in one.items():
                self.code[code] += int(count)
        self.family: Counter[str] = Counter()
        for code, count in self.code.items():
            self.family[names.codes[code][:3]] += count
        self.children = Counter(code[:3] for code in names.codes if code[3:4] == ".")


@dataclass(frozen=True)
class Candidates:
    """The names near one mention, (c,) each: their numbers, cosines of vectors, cosines of tf-idf."""

    names: np.ndarray
    dense: np.ndarray
    lexical: np.ndarray

    def similar(self, how: Vote) -> np.ndarray:
        """Both together, weighted."""
        found: np.ndarray = (self.dense + how.lexical * self.lexical) / (1 + how.lexical)
        return found


class Linker:
    """Links mentions to the codes of `names`; `encode` gives unit vectors (n, dims) of normalised texts."""

    def __init__(
        self,
        names: Names,
        ngrams: Ngrams,
        encode: Callable[[Sequence[str]], np.ndarray],
        dictionary: CodeDictionary,
        how: Vote,
    ) -> None:
        self.names, self.ngrams, self.encode, self.dictionary, self.how = names, ngrams, encode, dictionary, how
        self.priors = Priors(names)
        self._rows: Any = None

    def candidates(
        self, mentions: Sequence[str], dims: int, keep: int, short: int | None = SHORT, *, lexical: bool = True
    ) -> list[Candidates]:
        """The names near each mention; where a mention has abbreviations, also those near it written out."""
        variants = {mention: list(dict.fromkeys(map(normalised, self.variants(mention)))) for mention in set(mentions)}
        texts = sorted({text for every in variants.values() for text in every})
        if not texts:
            return []
        near = self.names.nearest(self.encode(texts), dims, min(keep, len(self.names.texts)), short)
        rows = self.ngrams.rows(texts) if lexical else None
        by_text = {}
        for place, (text, (names, dense)) in enumerate(zip(texts, near, strict=True)):
            same = np.zeros(len(names)) if rows is None else cosines(self.lexical, names, rows[place])
            by_text[text] = Candidates(names, dense.astype(np.float64), same.astype(np.float64))
        return [_joined([by_text[text] for text in variants[mention]]) for mention in mentions]

    def variants(self, mention: str) -> list[str]:
        """A mention, and if it is no name that is known, the same with its abbreviations written out."""
        return [mention] if normalised(mention) in self.names.mention else self.dictionary.variants(mention)

    def shares(self, found: Candidates) -> list[tuple[int, float]]:
        """Code numbers with their shares of the votes, the largest first."""
        return self.names.ballot.shares(found.names, found.similar(self.how), self.how)

    @property
    def lexical(self) -> Any:
        """What the tf-idf term reads of all names, a CSR matrix (names, buckets)."""
        if self._rows is None:
            self._rows = self.ngrams.rows(self.names.texts)
        return self._rows


def _joined(several: Sequence[Candidates]) -> Candidates:
    """One list of candidates; a name that is in several keeps its largest similarities."""
    if len(several) == 1:
        return several[0]
    names = np.unique(np.concatenate([one.names for one in several]))
    dense, lexical = np.full(len(names), -1.0), np.zeros(len(names))
    for one in several:
        at = np.searchsorted(names, one.names)
        dense[at] = np.maximum(dense[at], one.dense)
        lexical[at] = np.maximum(lexical[at], one.lexical)
    return Candidates(names, dense, lexical)
