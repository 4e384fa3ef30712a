"""
Where diagnoses stand, by a linear-chain conditional random field over words and the characters in them.

It needs no pretrained model: the crfsuite library fits some 70 features a word, and an L1 penalty keeps few of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anysize.coding.records.documents import Document, trimmed, without_overlaps
from anysize.core.errors import AnysizeError
from anysize.core.progress import bar

_WORDS = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_LONG = 4000
"""Words of a sequence; a text of a megabyte is tagged piece by piece, whose ends are ends of spans."""

Place = tuple[int, int, float]
"""From, up to, and how sure the detector is, from 0 to 1."""


class CRFDetector:
    """Tags words as the beginning, the inside or the outside of a mention."""

    kind = "ngram"

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._tagger: Any = None

    @classmethod
    def fit(
        cls, documents: Sequence[Document], folder: Path, *, iterations: int = 150, c1: float = 1.0, c2: float = 0.0
    ) -> CRFDetector:
        """Learn from the spans of documents, trimmed, and of two that overlap the shorter; `folder` is for its file."""
        trainer = _library().Trainer(algorithm="lbfgs", verbose=False)
        trainer.set_params({"c1": c1, "c2": c2, "max_iterations": iterations})
        seen = 0
        for document in documents:
            places = [trimmed(document.text, span.start, span.end) for span in without_overlaps(document.spans)]
            for words in _sequences(document.text):
                tags = _tags(words, places)
                seen += "B" in tags
                trainer.append(features(document.text, words), tags)
        if not seen:
            raise AnysizeError("no document has a span, so there is nothing to detect; give annotated documents")
        file = folder / "detector.crf"
        trainer.train(str(file))
        return cls(file.read_bytes())

    def save(self, folder: Path) -> None:
        """Write its one file."""
        (folder / "detector.crf").write_bytes(self.content)

    @classmethod
    def load(cls, folder: Path) -> CRFDetector:
        """What `save` wrote."""
        return cls((folder / "detector.crf").read_bytes())

    def detect(self, texts: Sequence[str], *, progress: bool = False) -> list[list[Place]]:
        """The places of each text, trimmed, in their order."""
        if self._tagger is None:
            self._tagger = _library().Tagger()
            self._tagger.open_inmemory(self.content)
        found = []
        with bar(len(texts), "finding mentions", " documents", show=progress, leave=False) as done:
            for text in texts:
                found.append([place for words in _sequences(text) for place in self._places(text, words)])
                done.update(1)
        return found

    def _places(self, text: str, words: list[tuple[int, int]]) -> Iterator[Place]:
        self._tagger.set(features(text, words))
        tags = self._tagger.tag()
        starts = [
            row for row, tag in enumerate(tags) if tag == "B" or (tag == "I" and (not row or tags[row - 1] == "O"))
        ]
        for first in starts:
            last = first
            while last + 1 < len(tags) and tags[last + 1] == "I":
                last += 1
            sure = min(self._tagger.marginal(tags[row], row) for row in range(first, last + 1))
            yield (*trimmed(text, words[first][0], words[last][1]), float(sure))


def _sequences(text: str) -> list[list[tuple[int, int]]]:
    words = [found.span() for found in _WORDS.finditer(text)]
    return [words[start : start + _LONG] for start in range(0, len(words), _LONG)]


def _tags(words: Sequence[tuple[int, int]], places: Sequence[tuple[int, int]]) -> list[str]:
    tags = ["O"] * len(words)
    for start, end in places:
        inside = [row for row, (a, b) in enumerate(words) if a < end and start < b]
        for row in inside:
            tags[row] = "B" if row == inside[0] else "I"
    return tags


def features(text: str, words: Sequence[tuple[int, int]]) -> list[list[str]]:
    """What the field reads of each word: itself, its characters, its shape, and its neighbours."""
    lower = [text[a:b].lower() for a, b in words]
    shapes = [_shape(text[a:b]) for a, b in words]
    starts = [f"{word[:4]}" for word in lower]
    ends = [word[-3:] for word in lower]
    found = []
    for row, (start, _) in enumerate(words):
        word = lower[row]
        one = ["bias", f"w={word}", f"s={shapes[row]}", f"l={min(len(word), 12)}"]
        edged = f"<{word}>"
        one += [f"g={edged[i : i + n]}" for n in (3, 4) for i in range(len(edged) - n + 1)]
        one += [f"p={word[:n]}" for n in (2, 3, 4, 5)] + [f"e={word[-n:]}" for n in (2, 3, 4)]
        for away in (-3, -2, -1, 1, 2, 3):
            there = row + away
            inside = 0 <= there < len(words)
            one.append(f"w{away}={lower[there] if inside else '|'}")
            if abs(away) < 3 and inside:
                one += [f"s{away}={shapes[there]}", f"p{away}={starts[there]}", f"e{away}={ends[there]}"]
        before = text[words[row - 1][1] : start] if row else "\n"
        one += [f"b={min(len(before), 3)}", f"n={chr(10) in before}"]
        one.append(f"w-1w={lower[row - 1] if row else '|'} {word}")
        one.append(f"ww+1={word} {lower[row + 1] if row + 1 < len(words) else '|'}")
        found.append(one)
    return found


def _shape(word: str) -> str:
    if word.isdigit():
        return f"9{min(len(word), 4)}"
    if not word.isalpha():
        return word
    return "A" if len(word) == 1 and word.isupper() else "AA" if word.isupper() else "Aa" if word[0].isupper() else "a"


def _library() -> Any:
    try:
        import pycrfsuite
    except ImportError:
        raise AnysizeError('finding mentions needs python-crfsuite; pip install "anysize[coding]"') from None
    return pycrfsuite
