"""
Audio-visual digits: three spoken digits after one another (Free Spoken Digit Dataset), beside handwritten ones
(scikit-learn) that are shown while each is spoken. It is no lip reading, and stands in for it.

On half of the digits, drawn for each, the sound is covered with noise, and on half of those left the picture is
covered: either alone leaves something out. Test utterances are of takes 0-4 and of other scans than those of training.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anysize.backbones.speech.media import sound
from anysize.tokens.speech.clips import FPS, Clip

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 16000
SECONDS = 3.0
"""The longest utterance, and the window of the encoder."""
SPOKEN = 3
SILENCE = 10
"""The label of a frame in which nothing is said."""


class Utterance(NamedTuple):
    """What is heard, seen and said."""

    clip: Clip
    spans: list[tuple[float, float, int]]
    """Begin and end in seconds of each digit."""


def recordings(folder: Path, test: bool) -> dict[int, list[np.ndarray]]:
    """Digit -> its recordings (samples,) at `RATE`; takes 0-4 are the test's."""
    found: dict[int, list[np.ndarray]] = {digit: [] for digit in range(10)}
    with zipfile.ZipFile(folder / "recordings.zip") as packed:
        for name in sorted(packed.namelist()):
            stem = Path(name).stem.split("_")
            if name.endswith(".wav") and (int(stem[2]) < 5) == test:
                samples = sound(packed.read(name), RATE)
                found[int(stem[0])].append(samples / max(float(np.abs(samples).max()), 1e-3) * 0.3)
    return found


def scans(test: bool) -> dict[int, np.ndarray]:
    """Digit -> handwritten ones (n, 8, 8), uint8; every third is the test's."""
    from sklearn.datasets import load_digits

    held = load_digits()
    pictures = (held.images * 15.9).astype(np.uint8)
    kept = (np.arange(len(pictures)) % 3 == 0) == test
    return {digit: pictures[kept & (held.target == digit)] for digit in range(10)}


def utterances(folder: Path, count: int, *, test: bool, seed: int) -> list[Utterance]:
    """So many, of digits drawn alike often."""
    rng, spoken, shown = np.random.default_rng([seed, int(test)]), recordings(folder, test), scans(test)
    return [_one(rng, spoken, shown) for _ in range(count)]


def _one(rng: np.random.Generator, spoken: dict[int, list[np.ndarray]], shown: dict[int, np.ndarray]) -> Utterance:
    most = int(SECONDS * RATE)
    while True:
        digits = rng.integers(0, 10, SPOKEN).tolist()
        chosen = [spoken[digit][rng.integers(len(spoken[digit]))] for digit in digits]
        gaps = (rng.uniform(0.05, 0.25, SPOKEN + 1) * RATE).astype(int)
        length = sum(map(len, chosen)) + int(gaps.sum())
        if length <= most:
            break
    samples = np.zeros(length, np.float32)
    frames = np.zeros((round(length / RATE * FPS), 8, 8), np.uint8)
    spans, at = [], 0
    for digit, one, gap in zip(digits, chosen, gaps, strict=False):
        at += int(gap)
        begin, end = at, at + len(one)
        picture = shown[digit][rng.integers(len(shown[digit]))].copy()
        if rng.random() < 0.5:
            one = 0.3 * one + 0.15 * rng.standard_normal(len(one)).astype(np.float32)
        elif rng.random() < 0.5:
            picture[:, 2:6] = 0
        samples[begin:end] = one
        frames[round(begin / RATE * FPS) : round(end / RATE * FPS)] = picture
        spans.append((begin / RATE, end / RATE, digit))
        at = end
    samples += 0.003 * rng.standard_normal(length).astype(np.float32)
    return Utterance(Clip(samples, frames, " ".join(WORDS[digit] for digit in digits)), spans)
