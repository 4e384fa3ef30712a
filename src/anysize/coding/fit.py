"""What the method ``icd`` does: detector, encoder, names, and a judge trained on folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.backbones.sentence import Encoder
from anysize.coding.coder import Coder, names_digest
from anysize.coding.detecting.crf import CRFDetector
from anysize.coding.detecting.tokens import TokenDetector
from anysize.coding.linking.encoder import MentionEncoder
from anysize.coding.linking.judge import Judge
from anysize.coding.linking.linker import LEXICAL
from anysize.coding.linking.names import Names
from anysize.coding.linking.ngrams import Ngrams
from anysize.coding.linking.training import Pool, learn
from anysize.coding.linking.vote import Vote
from anysize.coding.method import ICD
from anysize.coding.reading.data import coding_data
from anysize.coding.records.dictionary import LEVELS, CodeDictionary
from anysize.coding.records.documents import Document, Span, trimmed
from anysize.coding.scoring.counts import Counts
from anysize.core.data.data import Data
from anysize.core.errors import DataError
from anysize.core.sizes.nesting import Nesting

_FEWEST = 8
"""Documents that are learnt from, at least."""


def fit(method: ICD, data: Data, workdir: Path, resume: bool) -> Coder:
    """Learn from annotated documents; minutes, so nothing is kept and `resume` begins anew."""
    given = None if method.dictionary is None else CodeDictionary.read(Path(method.dictionary))
    read = coding_data(data, given)
    documents = [one for one in read.to_learn() if one.text.strip()]
    if len(documents) < _FEWEST or not any(one.codes for one in documents):
        raise DataError(f"{len(documents)} documents with codes are too few to learn from; give at least {_FEWEST}")
    dictionary = read.dictionary or _named_by_mentions(documents)
    backbone = None if method.encoder == "char-ngram" else Encoder(method.encoder)
    if backbone is not None:
        backbone.keep_embeddings()
    coder = _made(method, documents, dictionary, backbone, workdir)
    spans = sum(len(one.spans) for one in documents)
    coder.about |= {"learnt_from": "documents", "rows": len(documents), "spans": spans}
    if method.folds:
        coder.about["folds"] = _judged(method, coder, documents, workdir)
    return coder.eval()


def _named_by_mentions(documents: Sequence[Document]) -> CodeDictionary:
    """Without a dictionary, each code is called what it was first called in a document."""
    names: dict[str, str] = {}
    for document in documents:
        for span in document.spans:
            if span.code is not None:
                names.setdefault(span.code, span.mention)
    return CodeDictionary.of(names)


def _made(
    method: ICD, documents: Sequence[Document], dictionary: CodeDictionary, backbone: Encoder | None, workdir: Path
) -> Coder:
    """A coder without a judge."""
    coder = linked(method, documents, dictionary, backbone)
    if method.detector == "ngram":
        coder.detector = CRFDetector.fit(documents, workdir, iterations=method.iterations)
    else:
        coder.detector = TokenDetector.fit(
            documents, method.detector, epochs=method.detector_epochs, frozen=method.frozen, seed=method.seed
        )
    coder.settings["detector"] = coder.detector.kind
    return coder


def linked(
    method: ICD, documents: Sequence[Document], dictionary: CodeDictionary, backbone: Encoder | None = None
) -> Coder:
    """A coder that links mentions, and finds none."""
    names = Names.of(dictionary, documents, mentions=method.mentions)
    learnt_from = names if method.mentions else Names.of(dictionary, documents)
    dims = method.dims
    width = None if backbone is None else backbone.dimension
    encoder = MentionEncoder(dims[-1], width, ngrams=backbone is None or method.ngrams)
    settings = {
        "vote": vars(Vote(lexical=method.lexical)),
        "threshold": 0.0,
        "back_off": method.back_off,
        "judged": False,
        "detector": "ngram",
        "names": names_digest(names),
    }
    coder = Coder(Nesting(dims=dims, candidates=method.candidates), encoder, settings)
    coder.names, coder.dictionary, coder.backbone = names, dictionary, backbone
    coder.idf.copy_(torch.from_numpy(np.asarray(Ngrams(3, 5, LEXICAL).learn(names.texts).idf)))
    rows, codes = learnt_from.pairs()
    texts = [learnt_from.texts[row] for row in rows]
    features = None if backbone is None else backbone.encode(texts, progress=True)
    encoder.begin(texts, features, method.seed)
    mentions = np.flatnonzero(rows >= learnt_from.rows)
    pool = Pool(texts, codes, mentions, encoder.bags(texts), features)
    levels = [_level(learnt_from, codes, dictionary, one, method.coarse) for one in dims]
    losses = learn(
        encoder,
        pool,
        dims,
        levels,
        loss=method.loss,
        epochs=method.epochs,
        learning_rate=method.learning_rate,
        temperature=method.temperature,
        seed=method.seed,
    )
    coder.about["losses"] = [round(one, 4) for one in losses]
    names.keep(coder.vectors(names.texts), dims)
    return coder


def _level(names: Names, codes: np.ndarray, dictionary: CodeDictionary, dims: int, coarse: bool) -> np.ndarray:
    """The numbers of what a prefix must tell apart: codes, or of a short one categories or chapters."""
    level = LEVELS[0] if coarse and dims <= 16 else LEVELS[1] if coarse and dims <= 64 else LEVELS[2]
    if level == LEVELS[2]:
        return codes
    known = [dictionary.coarse(code, level) for code in names.codes]
    numbers = {word: place for place, word in enumerate(dict.fromkeys(known))}
    return np.array([numbers[known[code]] for code in codes])


def _judged(method: ICD, coder: Coder, documents: Sequence[Document], workdir: Path) -> dict[str, Any]:
    """Train the judge on what coders found in documents that they did not know; what that says of the coder."""
    order = np.random.default_rng(method.seed).permutation(len(documents))
    folds = np.array_split(order, min(method.folds, len(documents)))
    known, right, of, fold_of = [], [], [], []
    gold: list[list[Span]] = []
    found: list[list[Span]] = []
    for fold, mine in enumerate(folds):
        rest = [documents[row] for row in np.sort(np.concatenate([one for one in folds if one is not mine]))]
        other = _made(method, rest, coder.dictionary, coder.backbone, workdir)
        some = [documents[row] for row in mine]
        places = other.detect([one.text for one in some])
        near = iter(
            other.candidates([one.text[a:b] for one, spans in zip(some, places, strict=True) for a, b, _ in spans])
        )
        for document, spans in zip(some, places, strict=True):
            judged = other.judged(document.text, spans, [next(near) for _ in spans])
            codes = [other.linker.names.codes[one.code] for one, _ in judged]
            known += [one.known for one, _ in judged]
            right += [code in document.codes for code in codes]
            of += [(len(gold), code) for code in codes]
            fold_of += [fold] * len(codes)
            gold.append([Span(*trimmed(document.text, one.start, one.end), "", one.code) for one in document.spans])
            found.append([Span(start, end, "", "?") for start, end, _ in spans])
    x, y, fold_ = np.stack(known), np.array(right), np.array(fold_of)
    scores = np.zeros(len(y))
    for fold in range(len(folds)):
        judge = Judge()
        judge.learn(x[fold_ != fold], y[fold_ != fold], seed=method.seed)
        scores[fold_ == fold] = judge.probabilities(x[fold_ == fold])
    coder.judge.learn(x, y, seed=method.seed)
    wanted = sum(len({span.code for span in one if span.code is not None}) for one in gold)
    threshold, best = _threshold(of, scores, y, wanted)
    coder.settings |= {"threshold": threshold, "judged": True}
    return {"code F1": best, "NER F1": Counts.of(gold, found).released()["NER F-score"], "threshold": threshold}


def _threshold(of: list[tuple[int, str]], scores: np.ndarray, right: np.ndarray, wanted: int) -> tuple[float, float]:
    """The score from which a code is given, to the hundredth, by the micro F1 of the documents' codes; and that F1."""
    best: dict[tuple[int, str], tuple[float, bool]] = {}
    for key, score, there in zip(of, scores.tolist(), right.tolist(), strict=True):
        best[key] = max(best.get(key, (0.0, there)), (score, there))
    value, there = np.array([one for one, _ in best.values()]), np.array([one for _, one in best.values()])
    tried = []
    for step in range(5, 95):
        given = value >= step / 100
        tried.append((2 * float(there[given].sum()) / max(1.0, float(given.sum()) + wanted), step / 100))
    f1, threshold = max(tried)
    return threshold, f1
