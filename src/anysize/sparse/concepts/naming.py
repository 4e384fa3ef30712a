"""
Names for latents out of a vocabulary (MSAE, Zaigrajew et al. 2025, arXiv 2502.20578, section 6, after Rao et al. 2024).

A latent's direction is its dictionary row in the space of the embeddings; its name is the term whose embedding points
there most nearly. A name is accepted only if the cosine is high, and well above that of the next term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.core.arguments import FINITE_ROWS, TEXTS, number, takes
from anysize.core.errors import AnysizeError, DataError
from anysize.sparse.autoencoder.model import SparseAutoencoder

MIN_SIMILARITY, MIN_RATIO = 0.42, 2.0
_LATENTS = 512


@dataclass(frozen=True)
class Concept:
    """A latent and the term nearest to its direction."""

    latent: int
    name: str
    similarity: float
    runner_up: str
    ratio: float
    """Its similarity over the runner-up's; 0 where one of the two is not above zero."""
    accepted: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def directions(sae: SparseAutoencoder, *, mean: bool = False) -> torch.Tensor:
    """
    Where each latent points in the space of the inputs, (latents, d).

    With `mean`, what an input of that latent alone would be, the mean of the inputs added to a step of the latent's own
    length, as MSAE's code has it; without, the step alone. The bias is left out.
    """
    steps = sae.W_dec[: sae.latents].detach() / sae.scale
    return steps + sae.mean if mean else steps


@takes(words=TEXTS, vectors=FINITE_ROWS, min_similarity=number(), min_ratio=number())
def name_concepts(
    sae: SparseAutoencoder,
    words: Sequence[str],
    vectors: np.ndarray,
    *,
    min_similarity: float = MIN_SIMILARITY,
    min_ratio: float = MIN_RATIO,
    centre: bool = True,
) -> list[Concept]:
    """
    A concept for each latent; `vectors` (terms, d) are the terms' embeddings by the model whose vectors were encoded.

    `centre` takes the mean of the terms off them: embeddings share a direction that says nothing of any one term, and
    a latent's step has none of it. Raises `DataError` for another width, or fewer than two terms.
    """
    if len(words) != len(vectors) or len(words) < 2:
        raise DataError(f"{len(words)} terms and {len(vectors)} embeddings; expected one for each, of at least two")
    if vectors.shape[1] != sae.width:
        raise DataError(
            f"the terms' embeddings have width {vectors.shape[1]} and the autoencoder reads {sae.width}; use the model "
            "whose embeddings it was fitted on"
        )
    terms = torch.from_numpy(np.array(vectors, np.float32))
    terms = functional.normalize(terms - terms.mean(0) if centre else terms, dim=1)
    aims = functional.normalize(directions(sae, mean=not centre), dim=1)
    found: list[Concept] = []
    for start in range(0, len(aims), _LATENTS):
        best, places = (aims[start : start + _LATENTS] @ terms.T).topk(2, dim=1)  # (some, 2)
        for offset, (values, rows) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
            ratio = values[0] / values[1] if min(values) > 0 else 0.0
            alone = values[0] > 0 >= values[1]  # no other term points there at all
            good = values[0] >= min_similarity and (alone or ratio >= min_ratio)
            found.append(Concept(start + offset, words[rows[0]], values[0], words[rows[1]], ratio, good))
    return found


def read_words(path: str | Path) -> list[str]:
    """The distinct terms of a file, one a line. Raises `DataError` if there are none."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of words, one a line ({error})") from None
    words = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not words:
        raise DataError(f"{path} holds no words; expected one a line")
    return words


def embed_words(sae: SparseAutoencoder, words: Sequence[str], model: str | None) -> np.ndarray:
    """
    The terms' embeddings by `model`, or by the one that the autoencoder was fitted on.

    Raises `AnysizeError` if neither is known.
    """
    from anysize.core.scratch import temporary_folder
    from anysize.sparse.rows.source import Source

    named = model or sae.source.model
    if named is None:
        raise AnysizeError("this autoencoder was fitted on vectors; name the model that made them with --model")
    with temporary_folder() as scratch:
        return np.asarray(Source(named).rows(list(words), scratch)[:], np.float32)
