"""What the method ``icd`` does: detector, encoder, names, and a judge trained on folds."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from anysize.backbones.sentence import Encoder
from anysize.coding.coder import Coder, names_digest
from anysize.coding.detecting.crf import CRFDetector
from anysize.coding.detecting.tokens import TokenDetector
from anysize.coding.linking.encoder import MentionEncoder
from anysize.coding.linking.judge import FEATURES, Judge
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
from anysize.core.digests import is_sealed, write_sealed
from anysize.core.errors import DataError
from anysize.core.files import new_directory
from anysize.core.model.checkpoint import tensors_of
from anysize.core.scratch import temporary_folder
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.unfinished import RUN

_FEWEST = 8
"""Documents that are learnt from, at least."""


def fit(method: ICD, data: Data, workdir: Path, resume: bool) -> Coder:
    """Learn from annotated documents; with `resume`, detector, encoder and folds that `workdir` holds are taken."""
    given = None if method.dictionary is None else CodeDictionary.read(Path(method.dictionary))
    read = coding_data(data, given)
    documents = [one for one in read.to_learn() if one.text.strip()]
    if len(documents) < _FEWEST or not any(one.codes for one in documents):
        raise DataError(f"{len(documents)} documents with codes are too few to learn from; give at least {_FEWEST}")
    dictionary = read.dictionary or _named_by_mentions(documents)
    backbone = None if method.encoder == "char-ngram" else Encoder(method.encoder)
    if backbone is not None:
        backbone.keep_embeddings()
    coder = _made(method, documents, dictionary, backbone, workdir / "whole")
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
    method: ICD, documents: Sequence[Document], dictionary: CodeDictionary, backbone: Encoder | None, kept: Path
) -> Coder:
    """A coder without a judge; what a run that was stopped left in `kept` is not learnt again."""
    kept.mkdir(exist_ok=True)
    coder = linked(method, documents, dictionary, backbone, kept / "encoder.safetensors")
    kind: Any = CRFDetector if method.detector == "ngram" else TokenDetector
    folder = kept / "detector"
    if not folder.exists():
        with temporary_folder() as scratch:
            if method.detector == "ngram":
                made: Any = CRFDetector.fit(documents, Path(scratch), iterations=method.iterations)
            else:
                made = TokenDetector.fit(
                    documents, method.detector, epochs=method.detector_epochs, frozen=method.frozen, seed=method.seed
                )
        with new_directory(folder, marker=RUN) as fresh:
            made.save(fresh)
    coder.detector = kind.load(folder)
    coder.settings["detector"] = coder.detector.kind
    return coder


def linked(
    method: ICD,
    documents: Sequence[Document],
    dictionary: CodeDictionary,
    backbone: Encoder | None = None,
    kept: Path | None = None,
) -> Coder:
    """A coder that links mentions, and finds none. The encoder is what `kept` holds, or learnt and put there."""
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
    if kept is not None and is_sealed(kept):
        state, words = tensors_of(kept)
        encoder.load_state_dict(state)
        coder.about["losses"] = json.loads(words["losses"])
    else:
        losses = _learn(method, encoder, learnt_from, dictionary, backbone)
        coder.about["losses"] = [round(one, 4) for one in losses]
        if kept is not None:
            state = {name: value.contiguous() for name, value in encoder.state_dict().items()}
            write_sealed(kept, save(state, {"losses": json.dumps(coder.about["losses"])}))
    names.keep(coder.vectors(names.texts), dims)
    return coder


def _learn(
    method: ICD, encoder: MentionEncoder, names: Names, dictionary: CodeDictionary, backbone: Encoder | None
) -> list[float]:
    rows, codes = names.pairs()
    texts = [names.texts[row] for row in rows]
    features = None if backbone is None else backbone.encode(texts, progress=True)
    encoder.begin(texts, features, method.seed)
    pool = Pool(texts, codes, np.flatnonzero(rows >= names.rows), encoder.bags(texts), features)
    return learn(
        encoder,
        pool,
        method.dims,
        [_level(names, codes, dictionary, one, method.coarse) for one in method.dims],
        loss=method.loss,
        epochs=method.epochs,
        learning_rate=method.learning_rate,
        temperature=method.temperature,
        seed=method.seed,
    )


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
    parts = []
    for fold, mine in enumerate(folds):
        file = workdir / f"fold-{fold}.npz"
        if not is_sealed(file):
            rest = [documents[row] for row in np.sort(np.concatenate([one for one in folds if one is not mine]))]
            other = _made(method, rest, coder.dictionary, coder.backbone, workdir / f"fold-{fold}")
            content = io.BytesIO()
            np.savez(content, **_known(other, [documents[row] for row in mine]))
            write_sealed(file, content.getvalue())
        with np.load(file, allow_pickle=False) as held:
            parts.append({name: held[name] for name in held.files})
    asked = [documents[row] for row in order]
    starts = np.cumsum([0, *map(len, folds)])
    for start, part in zip(starts[:-1], parts, strict=True):
        part["of"] += start
        part["spans"][:, 0] += start
    x, of, codes, spans = (np.concatenate([one[name] for one in parts]) for name in ("known", "of", "codes", "spans"))
    y = np.array([code in asked[row].codes for row, code in zip(of, codes, strict=True)])
    fold_of = np.repeat(np.arange(len(folds)), [len(one["of"]) for one in parts])
    scores = np.zeros(len(y))
    for fold in range(len(folds)):
        judge = Judge()
        judge.learn(x[fold_of != fold], y[fold_of != fold], seed=method.seed)
        scores[fold_of == fold] = judge.probabilities(x[fold_of == fold])
    coder.judge.learn(x, y, seed=method.seed)
    wanted = sum(len(one.codes) for one in asked)
    threshold, best = _threshold(list(zip(of.tolist(), codes.tolist(), strict=True)), scores, y, wanted)
    coder.settings |= {"threshold": threshold, "judged": True}
    gold = [[Span(*trimmed(one.text, span.start, span.end), "", span.code) for span in one.spans] for one in asked]
    found: list[list[Span]] = [[] for _ in asked]
    for row, start, end in spans.tolist():
        found[row].append(Span(start, end, "", "?"))
    return {"code F1": best, "NER F1": Counts.of(gold, found).released()["NER F-score"], "threshold": threshold}


def _known(coder: Coder, documents: Sequence[Document]) -> dict[str, Any]:
    """
    What the judge reads of every code that a coder finds in documents: ``known`` (n, features), the document's number
    ``of`` (n,), the ``codes`` (n,); and the places of mentions, ``spans`` (m, 3): document, from, up to.
    """
    places = coder.detect([one.text for one in documents])
    near = iter(
        coder.candidates([one.text[a:b] for one, spans in zip(documents, places, strict=True) for a, b, _ in spans])
    )
    known, of, codes = [], [], []
    for row, (document, spans) in enumerate(zip(documents, places, strict=True)):
        for one, _ in coder.judged(document.text, spans, [next(near) for _ in spans]):
            known.append(one.known)
            of.append(row)
            codes.append(coder.linker.names.codes[one.code])
    spans_ = [(row, start, end) for row, spans in enumerate(places) for start, end, _ in spans]
    return {
        "known": np.array(known, np.float32).reshape(-1, FEATURES),
        "of": np.array(of, int),
        "codes": np.array(codes, str),
        "spans": np.array(spans_, int).reshape(-1, 3),
    }


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
