"""
Two masked copies of each text for Starbucks Masked Autoencoding (arXiv 2410.13230): whole words, one set in the other.

Every word that is masked for the encoder is masked for the decoder too, so the decoder never sees what the encoder was
to guess. Masks are drawn from a seed and the numbers of a batch's rows alone: a resumed run draws the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from anysize.core.errors import AnysizeError

IGNORED = -100
"""The label of a position that no loss is taken at."""
NO_WORD = -1
"""The word of a special token, which is never masked."""


def word_groups(words: np.ndarray) -> list[np.ndarray]:
    """Positions of each word: neighbours of one word number, `NO_WORD` left out."""
    starts = np.flatnonzero(np.diff(words, prepend=words[:1] - 1))
    parts = np.split(np.arange(len(words)), starts[1:])
    return [part for part in parts if words[part[0]] != NO_WORD]


def nested_masks(
    words: np.ndarray, encoder_share: float, decoder_share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """
    Which tokens of a text to mask for the encoder and for the decoder, both (tokens,) bool, the first in the second.

    Words in random order are taken whole as long as they fit a quota: the share of the tokens that stand in words,
    rounded, at least one. Where no word fits, the shortest is taken, so that no text is without a mask.
    """
    groups = word_groups(words)
    total = sum(map(len, groups))
    quotas = [max(1, round(share * total)) for share in (encoder_share, decoder_share)]
    masks = np.zeros((2, len(words)), bool)
    counts = [0, 0]
    for place in rng.permutation(len(groups)):
        group = groups[place]
        for copy in (1, 0):  # the decoder first: what does not fit there is not masked for the encoder
            if counts[copy] + len(group) > quotas[copy]:
                break
            masks[copy, group] = True
            counts[copy] += len(group)
        if counts[1] == quotas[1]:
            break
    if groups and not counts[0]:
        masks[:, min(groups, key=len)] = True
    return masks[0], masks[1]


@dataclass(frozen=True)
class NestedWholeWordMask:
    """
    Makes masked batches. Of the masked tokens 80 % become the mask token, 10 % another one, 10 % stay (as in BERT).

    Raises `AnysizeError` unless 0 < `encoder_share` <= `decoder_share` < 1.
    """

    encoder_share: float
    decoder_share: float | None
    """None: there is no decoder, and no second copy."""
    mask_id: int
    pad_id: int
    plain_ids: np.ndarray
    """Token numbers that may take a masked one's place: all but the special ones."""
    seed: int = 0

    def __post_init__(self) -> None:
        decoder = self.encoder_share if self.decoder_share is None else self.decoder_share
        if not 0 < self.encoder_share <= decoder < 1:
            raise AnysizeError(
                f"the shares of masked tokens must satisfy 0 < encoder <= decoder < 1; got {self.encoder_share} and "
                f"{decoder}"
            )

    def __call__(
        self, rows: Sequence[int], ids: Sequence[np.ndarray], words: Sequence[np.ndarray]
    ) -> dict[str, torch.Tensor]:
        """
        One batch: `rows` are the numbers of the texts, `ids` and `words` what each holds, special tokens included.

        Gives ``input_ids``, ``attention_mask``, ``labels`` and, with a decoder, ``decoder_input_ids`` and
        ``decoder_labels``, all (rows, tokens) int64, padded to the longest; labels are `IGNORED` elsewhere.
        """
        rng = np.random.default_rng([self.seed, *rows])
        longest = max(map(len, ids))
        shape = (len(ids), longest)
        plain, seen = np.full(shape, self.pad_id), np.zeros(shape, np.int64)
        masks = np.zeros((2, *shape), bool)
        share = self.encoder_share if self.decoder_share is None else self.decoder_share
        for row, (tokens, groups) in enumerate(zip(ids, words, strict=True)):
            plain[row, : len(tokens)], seen[row, : len(tokens)] = tokens, 1
            masks[:, row, : len(tokens)] = nested_masks(groups, self.encoder_share, share, rng)
        batch: dict[str, Any] = {"attention_mask": seen}
        batch["input_ids"], batch["labels"] = self._hidden(plain, masks[0], rng)
        if self.decoder_share is not None:
            batch["decoder_input_ids"], batch["decoder_labels"] = self._hidden(plain, masks[1], rng)
        return {name: torch.from_numpy(value) for name, value in batch.items()}

    def _hidden(self, plain: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Token numbers with the masked ones hidden, and what stood there."""
        drawn, shown = rng.random(plain.shape), plain.copy()
        others = rng.choice(self.plain_ids, plain.shape)
        shown[mask & (drawn < 0.8)] = self.mask_id
        swapped = mask & (drawn >= 0.9)
        shown[swapped] = others[swapped]
        return shown, np.where(mask, plain, IGNORED)
