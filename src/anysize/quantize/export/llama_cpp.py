"""
A GGUF file run by llama.cpp itself, on text, beside the model that it was written from.

The engine computes with 8-bit inputs where weights are codes, which hides small faults. So it runs a twin of the file
first, with floats in place of the codes: there it must give nearly what we give. Then the file, with a wider bound.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.child import run_child
from anysize.core.engine_checks import TEXTS, Check, NotChecked, apart, version_of
from anysize.core.errors import AnysizeError
from anysize.core.scratch import temporary_folder

ENGINE, PACKAGE = "llama.cpp (xllamacpp)", "xllamacpp"
VECTORS, PROBABILITIES, CODES = 0.04, 0.002, 0.3
"""
Largest relative distances: of vectors and of log-probabilities with floats, and of either with codes. What remains
with floats is the engine's GELU (tanh, from a table in half precision), which took .002 to .02 of a tuned MiniLM at 8,
4 and 2 bits; a wrong activation takes .1. With codes, 8-bit inputs in every layer.
"""
LONGEST, LIKELIEST = 256, 500
"""Tokens of the longest text that is tried, and how many of the likeliest next tokens are compared."""
TOLD = {
    "Korean": "한국어 문장입니다",
    "Japanese": "これは日本語の文です、がぎぐ",
    "Arabic with vowel signs": "هَذِهِ جُمْلَةٌ",
    "Hebrew with points": "שָׁלוֹם עוֹלָם",
    "Hindi": "यह हिंदी में एक वाक्य है",
    "Thai": "นี่คือประโยคภาษาไทย",
    "Vietnamese": "Tiếng Việt có nhiều dấu",
    "accents as separate characters": "cafe\u0301 nai\u0308ve",
    "control characters": "soft\u00adhyphen, zero\u200bwidth, non\u00a0breaking",
}
"""Texts that llama.cpp is known to cut otherwise for some tokenizers: that is said, not refused."""


@dataclass(frozen=True)
class Reading:
    """Our side: how a model reads texts, and what it makes of them."""

    limit: int
    """Tokens that the model reads at most."""
    special: tuple[str, ...]
    """Added tokens as they stand in a text."""
    ids: Any
    """Text -> list of token ids, special ones included."""
    results: Any
    """List of id lists -> (texts, dims) vectors of unit length, or (texts, vocabulary) log-probabilities."""
    embeds: bool
    letter: int
    """The token of a letter."""


def check(file: Path, twin: Path, reading: Reading) -> tuple[list[Check | NotChecked], list[str]]:
    """
    Run both files; returns what was compared, and notes on texts that the engine cuts otherwise.

    Raises `AnysizeError`, in one sentence, if tokens differ, results are too far apart, or the engine fails.
    """
    version = version_of(PACKAGE)
    if version is None:
        return [NotChecked("llama.cpp", f"pip install {PACKAGE}")], []
    texts, ids = _questions(reading)
    told = _told(reading)
    expected = reading.results(ids)
    found, checks = _ask(twin, reading, texts, ids, list(told.values())), []
    _same_tokens(texts, ids, found["tokens"])
    checks.append(Check(ENGINE, version, f"tokens of {len(texts)} texts", 0.0, 0.0))
    bound = VECTORS if reading.embeds else PROBABILITIES
    what = f"{'vectors' if reading.embeds else 'next-token log-probabilities'} of {len(texts)} texts"
    checks.append(Check(ENGINE, version, f"{what}, weights as floats", _apart(found, expected), bound))
    coded = _ask(file, reading, texts, ids, [])
    checks.append(Check(ENGINE, version, f"{what}, weights as codes", _apart(coded, expected), CODES))
    cut = [name for (name, text), row in zip(told.items(), found["told"], strict=True) if reading.ids(text) != row]
    notes = [f"llama.cpp cuts this into other tokens than the model's own tokenizer: {', '.join(cut)}"] if cut else []
    return [*checks], notes


def _questions(reading: Reading) -> tuple[list[str], list[list[int]]]:
    """Texts that fit, one that nearly fills what the model reads, and one with each added token, with their ids."""
    added = [f"before {token} after{token} {token.lower()} {token.upper()}" for token in reading.special[:16]]
    limit = min(reading.limit, LONGEST)
    long = TEXTS[2]
    while len(reading.ids(f"{long} {TEXTS[1]}")) <= limit:
        long = f"{long} {TEXTS[1]}"
    found = {text: reading.ids(text) for text in (*TEXTS, long, *added)}
    kept = {text: ids for text, ids in found.items() if 0 < len(ids) <= limit and (reading.embeds or len(ids) < limit)}
    return list(kept), list(kept.values())


def _told(reading: Reading) -> dict[str, str]:
    return {name: text for name, text in TOLD.items() if len(reading.ids(text)) <= min(reading.limit, LONGEST)}


def _same_tokens(texts: list[str], ids: list[list[int]], found: list[list[int]]) -> None:
    for text, mine, theirs in zip(texts, ids, found, strict=True):
        if mine != theirs:
            place = next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), len(theirs))
            raise AnysizeError(
                f"llama.cpp cuts {text[:40]!r} into other tokens than the model's tokenizer, from the {place + 1}th on "
                f"({theirs[place : place + 3]} where the model has {mine[place : place + 3]}), so nothing was written; "
                "cut with --format onnx, which takes token ids"
            )


def _apart(found: dict[str, Any], expected: np.ndarray) -> float:
    if "vectors" in found:
        vectors = np.array(found["vectors"], np.float64)
        if vectors.shape != expected.shape:
            return float("inf")
        return apart(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30), expected)
    largest = 0.0
    for row, mine in zip(found["next"], expected, strict=True):
        ids, theirs = np.array([id for id, _ in row], int), np.array([value for _, value in row], np.float64)
        # The likeliest were chosen by the engine, so of a wrong file they are the wrong ones.
        chosen = mine[ids]
        largest = max(largest, apart((theirs - chosen.mean())[None], (chosen - chosen.mean())[None]))
    return largest


def _ask(file: Path, reading: Reading, texts: list[str], ids: list[list[int]], told: list[str]) -> dict[str, Any]:
    asked = {
        "file": str(file),
        "texts": texts,
        "ids": ids,
        "told": told,
        "embedding": reading.embeds,
        "context": min(max(map(len, ids)) + 8, max(reading.limit, 1)),
        "threads": torch.get_num_threads(),
        "likeliest": LIKELIEST,
        "letter": reading.letter,
    }
    with temporary_folder() as scratch:
        question, answer = scratch / "question.json", scratch / "answer.json"
        question.write_text(json.dumps(asked), "utf-8")
        program = Path(__file__).with_name("llama_cpp_child.py")
        run_child(program, [question, answer], "llama.cpp", timeout=120 + file.stat().st_size / 1e6)
        found: dict[str, Any] = json.loads(answer.read_text("utf-8"))
    return found
