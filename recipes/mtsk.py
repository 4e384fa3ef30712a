"""
Llama-MTSK (Cappellazzo et al. 2025, arXiv 2503.06362): one speech recogniser at four pairs of rates.

    python -m recipes.mtsk --out OUT

Data      words that stand as chords of two tones, and pictures that light up while each sounds, made here: no speech,
          but something to hear and to see that needs no download. With --data, your own manifest in its place.
Cost      an encoder and a language model of random weights, which learn too (--train all); four pairs of rates a step.
Hardware  any processor.
Result    OUT/ear, its frontier, and OUT/small, the model at its smallest size.
"""

from __future__ import annotations

from collections.abc import Sequence

from anysize.tokens import MTSK
from recipes.speech_bases import run


def main(words: Sequence[str] | None = None) -> None:
    """Make the data and the models to start from, nest them, measure and cut."""
    run(MTSK(audio_rates=(4, 16), video_rates=(2, 5), strategy="ss"), __doc__, words)


if __name__ == "__main__":
    main()
