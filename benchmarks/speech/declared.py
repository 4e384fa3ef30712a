"""What the claims of speech have in common: their metric, and how parts of a claim become its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from benchmarks.evidence import write_row

MTSK = "Adaptive Audio-Visual Speech Recognition via Matryoshka-Based Multimodal LLMs, arXiv 2503.06362"
MOME = "MoME: Mixture of Matryoshka Experts for Audio-Visual Speech Recognition, arXiv 2510.04136"
Outcome = Literal["won", "mixed", "tied", "lost"]
WER = "word error rate, percent"
AUDIO_VISUAL = (
    "Free Spoken Digit Dataset, three digits an utterance, with handwritten digits shown meanwhile (a stand-in, no "
    "lips); 600 utterances to learn from, 150 to measure by, of other takes and scans; one base for all seeds"
)
"""The data of `benchmarks.speech.arms`."""


def declarer(paper: str, data: str, command: str, metric: str = WER) -> Callable[..., None]:
    """``declare(name, claim, reported, values, parts, note)``: a row of this paper, data and command."""

    def declare(
        name: str, claim: str, reported: str, values: Mapping[str, Any], parts: tuple[bool, ...] | Outcome, note: str
    ) -> None:
        """`values` has the figures of each arm; `parts` says which parts of the claim hold, or the outcome itself."""
        write_row(
            name, paper=paper, claim=claim, reported=reported, arms=list(values), metric=metric, values=values,
            outcome=outcome(*parts) if isinstance(parts, tuple) else parts,
            note=note, data=data, command=command,
        )  # fmt: skip

    return declare


def outcome(*parts: bool) -> Outcome:
    """Of a claim whose parts hold or do not."""
    return "won" if all(parts) else "mixed" if any(parts) else "lost"
