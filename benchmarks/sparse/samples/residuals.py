"""
Residuals of a small language model that was trained here on novels and WikiText: what its second block puts out.

The model is that of `benchmarks.quantize.small_lm`, kept in CACHE_DIR/lm:

    python -m benchmarks.quantize.small_lm --data DATA_DIR --cache CACHE_DIR/lm --steps 2000

DATA_DIR holds lm_books/ and lm_wikitext2/.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

from anysize.sparse.pruning.recapture import LanguageModelLoss
from anysize.sparse.rows.source import Source
from benchmarks.quantize import small_lm
from benchmarks.sparse.samples.sample import Sample, kept_rows

SITE, TRAIN, HELD_OUT = "layers.1", 200_000, 8192
PIECE = 400
"""Characters of a text: on average somewhat more tokens than the model reads."""


def residuals(data: Path, cache: Path) -> Sample:
    """A row for each token: 200,000 of texts that the language model learnt from, then 8,192 of books it did not."""
    vectors = kept_rows(cache / "residuals.npy", lambda: _read(data, cache))
    said = json.loads((cache / "lm" / "pretraining.json").read_text("utf-8"))
    source = (
        f"a Llama of 4 blocks (after the second), trained for {said['steps']:,} steps on novels and WikiText (loss "
        f"{said['history'][-1]['valid']:.2f} nats)"
    )
    return Sample(vectors, HELD_OUT, "residuals", source, [])


def lost(data: Path, cache: Path, texts: int = 32) -> LanguageModelLoss:
    """The model's loss on the first held-out texts, while what stands at the site passes through a function."""
    folder = small_lm.as_pretrained(cache / "lm")
    return LanguageModelLoss(str(folder), SITE, pieces(data, "valid")[:texts], small_lm.LENGTH)


def pieces(data: Path, part: str) -> list[str]:
    """Texts of a part of the corpus in a random order, all of one length."""
    blocks = small_lm.blocks(data)[part]
    found = [block[start : start + PIECE] for block in blocks for start in range(0, len(block) - PIECE + 1, PIECE)]
    random.Random(0).shuffle(found)
    return found


def _read(data: Path, cache: Path) -> np.ndarray:
    source = Source(str(small_lm.as_pretrained(cache / "lm")), SITE, small_lm.LENGTH)
    found = []
    for part, count in (("train", TRAIN), ("valid", HELD_OUT)):
        texts = pieces(data, part)[: count // 100]
        rows = source.rows(texts, cache / f"residuals-{part}")
        assert len(rows) >= count, f"{len(rows)} tokens in {len(texts)} texts; {count} are needed"
        found.append(rows[:count])
    return np.concatenate(found)
