"""What a coder is measured beside, apart from its fixed-size twins."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anysize.coding.coder import Coder
from anysize.coding.fit import linked
from anysize.coding.linking.linker import Candidates
from anysize.coding.reading.data import coding_data
from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError
from anysize.core.model.cost import Cost
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.rivals import check_same_data, method_of
from anysize.evaluation.nearest import largest


class Lexical(Coder):
    """A coder without vectors: all names are compared by tf-idf alone, and the nearest vote."""

    def candidates(self, mentions: Sequence[str], short: int | None = None) -> list[Candidates]:
        """The names nearest to each mention; what `short` says plays no part."""
        linker, found = self.linker, []
        for start in range(0, len(mentions), 256):
            rows = linker.ngrams.rows(mentions[start : start + 256])
            for scores in (rows @ linker.lexical.T).toarray().astype(np.float64):
                names = largest(scores, self.size["candidates"])
                found.append(Candidates(names, scores[names], scores[names]))
        return found

    def cost(self) -> Cost:
        """Bytes of a name's n-grams, on average, and the products of all names with a mention of as many."""
        entries = self.linker.lexical.nnz // self.linker.lexical.shape[0]
        return Cost(bytes=8 * entries, parameters=0, flops=2 * self.linker.lexical.nnz)


def tfidf(model: Coder, data: Data) -> list[Coder]:
    """The same coder at its full size with tf-idf in place of vectors; detector and judge are the model's own."""
    full = model.nesting.full
    made = Lexical(Nesting(dims=(full.dims,), candidates=(full["candidates"],)), model.encoder, model.settings)
    made.names, made.dictionary, made.detector, made.judge = model.names, model.dictionary, model.detector, model.judge
    made.backbone, made.idf = model.backbone, model.idf
    return [made]


def plain(model: Coder, data: Data) -> list[Coder]:
    """
    Vectors trained at the full size alone and cut to each size; detector and judge are the model's own.

    Raises `AnysizeError` for data that the model was not fitted on.
    """
    check_same_data(model, data, "plain")
    method = method_of(model)
    if method.dictionary is not None:
        raise AnysizeError("the arm plain needs the dictionary beside the data; leave out that arm")
    read = coding_data(data)
    documents = [one for one in read.to_learn() if one.text.strip()]
    trained = linked(replace(method, dims=method.dims[-1:]), documents, model.dictionary, model.backbone)
    assert trained.names is not None
    whole = Coder(Nesting(dims=method.dims, candidates=method.candidates), trained.encoder, model.settings)
    whole.names = copy.copy(trained.names)
    whole.names.keep(trained.vectors(trained.names.texts), method.dims)
    whole.dictionary, whole.detector, whole.backbone = model.dictionary, model.detector, model.backbone
    whole.judge, whole.idf = model.judge, trained.idf
    return [whole.at(size) for size in whole.nesting]
