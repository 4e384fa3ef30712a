"""A coder of diagnoses: finds mentions in a text and links each to a code, at any trained size."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from anysize.backbones.sentence import Encoder
from anysize.coding.detecting.crf import CRFDetector, Place
from anysize.coding.detecting.tokens import TokenDetector
from anysize.coding.linking.encoder import MentionEncoder
from anysize.coding.linking.judge import Candidate, Judge, candidates_of
from anysize.coding.linking.linker import LEXICAL, Candidates, Linker
from anysize.coding.linking.names import SHORT, Names
from anysize.coding.linking.ngrams import Ngrams
from anysize.coding.linking.vote import Vote
from anysize.coding.records.dictionary import CodeDictionary
from anysize.coding.records.documents import Span, normalised
from anysize.coding.reranking.choosing import Reranker, Told, reranked
from anysize.core.arguments import TEXTS, takes, whole
from anysize.core.errors import CheckpointError
from anysize.core.files import read_object, write_json
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.progress import bar
from anysize.core.sides import Side
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

DETECTORS: dict[str, Any] = {"ngram": CRFDetector, "tokens": TokenDetector}
_STEP = 64
"""Documents that are coded together."""


@dataclass(frozen=True)
class Coded:
    """What a coder finds in one text."""

    text: str
    spans: tuple[Span, ...]
    """One code for each mention, in order of their places."""
    codes: tuple[tuple[str, float], ...]
    """The codes of the whole document with how probable each is, those that are probable enough."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        codes = [{"code": code, "score": round(score, 4)} for code, score in self.codes]
        return {"text": self.text, "spans": [span.to_json() for span in self.spans], "codes": codes}


class Coder(NestedModel):
    """
    Gives a document's mentions with a code each, and the document's codes.

    `dims` are the coordinates of the vectors that compare a mention with names, `candidates` how many names are
    compared and vote. Its output as a model are the vectors of mentions, (n, dims).
    """

    kind = "coder"
    reads = ("text",)
    gives = "spans"
    evaluators = ("coding",)
    later = ("backbone",)
    writes = "anysize.coding.reading.brat:write_folder"
    panels = ("anysize.coding.scoring.panel:browser",)
    rivals: ClassVar[Mapping[str, str]] = {
        "tf-idf": "anysize.coding.rivals:tfidf",
        "plain": "anysize.coding.rivals:plain",
        "single": "anysize.core.verbs.rivals:single",
    }
    usual = ("tf-idf",)

    def __init__(self, nesting: Nesting, encoder: MentionEncoder, settings: Mapping[str, Any]) -> None:
        super().__init__(nesting)
        self.encoder = encoder
        self.judge = Judge()
        self.register_buffer("idf", torch.ones(LEXICAL))
        self.settings = dict(settings)
        """What `config` tells besides the encoder's shape: vote, threshold, back_off, judged, detector."""
        self.names: Names | None = None
        self.dictionary = CodeDictionary.of({})
        self.detector: Any = None
        self.backbone: Encoder | None = None
        self.reranker: Reranker | None = None
        self._linker: list[Linker] = []

    idf: torch.Tensor

    # Running

    @torch.no_grad()
    def vectors(self, texts: Sequence[str], dims: int | None = None) -> np.ndarray:
        """Vectors (n, dims) of mentions or names, of unit length."""
        found = self.encoder(*self.read(texts), dims or self.size.dims)
        return torch.nn.functional.normalize(found, dim=1).numpy()

    def read(self, texts: Sequence[str]) -> tuple[Any, np.ndarray | None]:
        """What the encoder reads of texts: bags of n-grams, and features of the sentence encoder."""
        plain = [normalised(text) for text in texts]
        features = None if self.backbone is None else self.backbone.encode(plain, progress=len(plain) > 1000)
        return self.encoder.bags(plain), features

    def _outputs(self, example: Any, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        read = self.read(list(example))
        return {size: torch.nn.functional.normalize(self.encoder(*read, size.dims), dim=1) for size in asked}

    @property
    def linker(self) -> Linker:
        """What links mentions to names, at any size."""
        if not self._linker:
            if self.names is None:
                raise CheckpointError("this coder has no names to link to")
            ngrams = Ngrams(3, 5, LEXICAL, self.idf.numpy())
            vote = Vote(**self.settings["vote"])
            self._linker.append(Linker(self.names, ngrams, self._full, self.dictionary, vote))
        return self._linker[0]

    def _full(self, texts: Sequence[str]) -> np.ndarray:
        return self.vectors(texts, self.nesting.full.dims)

    def candidates(self, mentions: Sequence[str], short: int | None = SHORT) -> list[Candidates]:
        """The names near each mention at this size; `short=None` shortlists by all coordinates."""
        return self.linker.candidates(mentions, self.size.dims, self.size["candidates"], short)

    @takes(mentions=TEXTS, top=whole())
    def link(self, mentions: Sequence[str], top: int = 5) -> list[list[tuple[str, float]]]:
        """The `top` codes of each mention with their shares of the votes, the largest first."""
        found = [self.linker.shares(one)[:top] for one in self.candidates(mentions)]
        return [[(self.linker.names.codes[code], share) for code, share in one] for one in found]

    def detect(self, texts: Sequence[str], *, progress: bool = False) -> list[list[Place]]:
        """Where mentions stand in each text, and how sure that is."""
        found: list[list[Place]] = self.detector.detect(texts, progress=progress)
        return found

    @takes(texts=TEXTS, top=whole())
    def code(
        self, texts: Sequence[str], *, top: int = 1, places: Sequence[Sequence[Place]] | None = None
    ) -> list[Coded]:
        """What it finds in each text. With `places` the mentions are given, and none are looked for."""
        coded = []
        with bar(len(texts), "coding", " documents", show=len(texts) > _STEP, leave=False) as shown:
            for start in range(0, len(texts), _STEP):
                some = [text.replace("\r\n", "\n") for text in texts[start : start + _STEP]]
                there = self.detect(some) if places is None else places[start : start + _STEP]
                mentions = [text[a:b] for text, found in zip(some, there, strict=True) for a, b, _ in found]
                near = iter(self.candidates(mentions))
                for text, found in zip(some, there, strict=True):
                    coded.append(self._coded(text, found, [next(near) for _ in found], top))
                shown.update(len(some))
        return coded

    def _coded(self, text: str, places: Sequence[Place], near: Sequence[Candidates], top: int) -> Coded:
        spans, best = [], dict[str, float]()
        mine: list[list[tuple[str, float]]] = [[] for _ in places]
        for one, probable in self.judged(text, places, near):
            code = self.linker.names.codes[one.code]
            mine[one.mention].append((code, one.share))
            best[code] = max(best.get(code, 0.0), probable)
        for (start, end, _), shares in zip(places, mine, strict=True):
            # The judge knows what documents have; which of a mention's codes is meant the votes say better.
            ranked = self._backed_off(sorted(shares, key=lambda one: -one[1]))
            if not ranked:
                spans.append(Span(start, end, text[start:end]))
                continue
            (code, score), others = ranked[0], tuple(ranked[1:top])
            spans.append(Span(start, end, text[start:end], code, self.dictionary.names.get(code, ""), score, others))
        if self.reranker is not None:
            before = [span.code for span in spans]
            spans = reranked(self.reranker, self.dictionary, text, spans, [self._listed(one) for one in near])
            for old, span in zip(before, spans, strict=True):
                if span.code != old and span.code is not None:
                    best[span.code] = 1.0
                    if old is not None and all(other.code != old for other in spans):
                        best.pop(old, None)
        threshold = self.settings["threshold"]
        codes = sorted(((code, score) for code, score in best.items() if score >= threshold), key=lambda one: -one[1])
        return Coded(text, tuple(sorted(spans, key=lambda one: (one.start, one.end))), tuple(codes))

    def _listed(self, near: Candidates) -> list[str]:
        return [self.linker.names.codes[code] for code, _ in self.linker.shares(near)]

    def judged(self, text: str, places: Sequence[Place], near: Sequence[Candidates]) -> list[tuple[Candidate, float]]:
        """Every candidate of a document with how probable it is; without a judge, with its share."""
        found = candidates_of(self.linker, text, places, near)
        if not found or not self.settings["judged"]:
            return [(one, one.share) for one in found]
        scores = self.judge.probabilities(np.stack([one.known for one in found]))
        return list(zip(found, scores.tolist(), strict=True))

    def _backed_off(self, ranked: list[tuple[str, float]]) -> list[tuple[str, float]]:
        """Where the best two of one family lie closer than the margin, their parent first."""
        margin = self.settings["back_off"]
        if margin is None or len(ranked) < 2 or ranked[0][1] - ranked[1][1] >= margin:
            return ranked
        parent = self.dictionary.parent(ranked[0][0])
        if parent is None or parent not in (ranked[1][0], self.dictionary.parent(ranked[1][0])):
            return ranked
        return [(parent, ranked[0][1]), *(one for one in ranked if one[0] != parent)]

    def reranking(self, reranker: Reranker | None) -> Self:
        """A view whose codes a language model chooses among the candidates."""
        view = copy.copy(self)
        view.reranker = reranker
        return view

    @takes(items=TEXTS, top=whole())
    def run(
        self, items: Any, *, side: Side | None = None, top: int = 1, llm: str | None = None
    ) -> list[dict[str, Any]]:
        """
        For each text its spans, each with a code, its name and score, and the codes of the whole text.

        `top` codes of each span are told. `llm` is the address of an endpoint in OpenAI's form that chooses among the
        candidates; what it answers that is no choice is counted, and the nearest name stands.
        """
        view = self if llm is None else self.reranking(Reranker.at(llm, self.size["candidates"]))
        found = [one.to_json() for one in view.code(list(items), top=top)]
        if view.reranker is not None and view is not self:
            view.reranker.told.say()
        return found

    def told(self) -> Told | None:
        """How a language model's answers were read, where there is one."""
        return None if self.reranker is None else self.reranker.told

    # The contract

    def cost(self) -> Cost:
        """Bytes of a name's vector; weights of the encoder; the scan and the comparison of one mention."""
        dims, many = self.size.dims, self.size["candidates"]
        names = 0 if self.names is None else len(self.names.texts)
        count = self.encoder.table.shape[0] * dims + dims * (self.encoder.width or 0)
        return Cost(bytes=4 * dims, parameters=count, flops=2 * (names * min(SHORT, dims) + many * dims))

    def config(self) -> dict[str, Any]:
        """The encoder's shape and the settings."""
        shape = {"width": self.encoder.width, "ngrams": self.encoder.ngrams, "buckets": self.encoder.buckets}
        return {"encoder": shape, "settings": self.settings}

    @classmethod
    def build(cls, config: Mapping[str, Any], nesting: Nesting) -> Self:
        """One of that shape, without names and without what finds mentions."""
        shape = config["encoder"]
        encoder = MentionEncoder(nesting.full.dims, shape["width"], ngrams=shape["ngrams"], buckets=shape["buckets"])
        return cls(nesting, encoder, config["settings"])

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """The table is cut in its columns, the head in its rows."""
        return {"encoder.table": ("dims", 1), "encoder.head": ("dims", 0)}

    def save_parts(self, directory: Path) -> None:
        """Names with their index, the dictionary, what finds mentions, and the sentence encoder."""
        assert self.names is not None
        for name in ("linking", "detector"):
            (directory / name).mkdir()
        self.names.save(directory / "linking", self.nesting.values("dims"))
        held = {"names": dict(self.dictionary.names), "abbreviations": dict(self.dictionary.abbreviations)}
        aliases = {code: list(more) for code, more in self.dictionary.aliases.items()}
        write_json(directory / "dictionary.json", {**held, "aliases": aliases})
        self.detector.save(directory / "detector")
        if self.backbone is not None:
            self.backbone.save(directory / "backbone")

    def load_parts(self, directory: Path) -> None:
        """What `save_parts` wrote."""
        held = read_object(directory / "dictionary.json", "a dictionary")
        self.dictionary = CodeDictionary(
            held["names"], held["abbreviations"], {code: tuple(more) for code, more in held["aliases"].items()}
        )
        self.names = Names.load(directory / "linking")
        self.detector = DETECTORS[self.settings["detector"]].load(directory / "detector")
        if self.encoder.width is not None:
            check = None if self.parts is None else partial(self.parts.check, "backbone")
            self.backbone = Encoder(directory / "backbone", check=check)

    def take_parts(self, whole: Self) -> None:
        """The same names with shorter vectors; the rest is shared."""
        assert whole.names is not None
        self.names = whole.names.cut(self.nesting.values("dims"))
        self.dictionary, self.detector, self.backbone = whole.dictionary, whole.detector, whole.backbone


def names_digest(names: Names) -> str:
    """SHA-256 of the names and their codes, for a model's configuration."""
    said = json.dumps([names.codes, names.texts, [sorted(one.items()) for one in names.entries]])
    return hashlib.sha256(said.encode()).hexdigest()
