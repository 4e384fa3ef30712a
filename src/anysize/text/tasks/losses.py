"""
The losses of task adapters (Sturua et al. 2024, arXiv 2409.10173, equations 1 to 5), for any sentence encoder.

Each takes the place of a loss of sentence-transformers and can stand inside `MatryoshkaLoss`. Similarities are cosines
in float32 whatever the layers computed in: at a temperature of 0.02 a bfloat16 cosine is 0.2 of a logit wide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch.nn import functional

from anysize.core.errors import DataError
from anysize.core.losses.columns import cosent, own_column

Features = Iterable[dict[str, Any]]
Rows = Float[torch.Tensor, "rows width"]


class EmbeddingLoss(torch.nn.Module):
    """What they have in common: the model runs each column once, and `compare` sees unit vectors."""

    def __init__(self, model: torch.nn.Module, temperature: float) -> None:
        super().__init__()
        if not temperature > 0:
            raise DataError(f"the temperature must be above zero; got {temperature}")
        self.model, self.temperature = model, temperature

    def forward(self, sentence_features: Features, labels: torch.Tensor | None = None) -> torch.Tensor:
        """The loss of a batch of columns, a scalar."""
        columns = [self.model(column)["sentence_embedding"] for column in sentence_features]
        with torch.autocast(columns[0].device.type, enabled=False):
            return self.compare([functional.normalize(column.float(), dim=-1) for column in columns], labels)

    def compare(self, columns: list[Rows], labels: torch.Tensor | None) -> torch.Tensor:
        """The loss of unit vectors."""
        raise NotImplementedError


class InfoNCELoss(EmbeddingLoss):
    """
    In-batch softmax over pairs: a row's partner against the partners of all rows (equation 1).

    `bidirectional` adds the same with the sides swapped. Two columns of equal length; means over rows.
    """

    def __init__(self, model: torch.nn.Module, temperature: float = 0.05, bidirectional: bool = True) -> None:
        super().__init__(model, temperature)
        self.bidirectional = bidirectional

    def compare(self, columns: list[Rows], labels: torch.Tensor | None) -> torch.Tensor:
        """The loss of the two columns; labels, if given, mark rows that are no negatives of each other."""
        if len(columns) != 2:
            raise DataError(f"InfoNCELoss takes two columns; got {len(columns)}; TripletInfoNCELoss takes negatives")
        anchors, positives = columns
        scores = _unlike(anchors @ positives.T / self.temperature, labels)
        loss = own_column(scores)
        return loss + own_column(scores.T) if self.bidirectional else loss


class TripletInfoNCELoss(EmbeddingLoss):
    """
    A query against all positives and all negatives of the batch, plus a positive against all queries (equation 3).

    Columns: queries, positives, then any number of negatives, all of one length; means over rows. Rows that share a
    label (an intent, or the same query with another answer) are not counted as each other's negatives; the paper
    instead appends a string to the texts of each row, which a model can learn to read.
    """

    def __init__(self, model: torch.nn.Module, temperature: float = 0.05) -> None:
        super().__init__(model, temperature)

    def compare(self, columns: list[Rows], labels: torch.Tensor | None) -> torch.Tensor:
        """The sum of both directions."""
        if len(columns) < 2:
            raise DataError(f"TripletInfoNCELoss takes queries, positives and negatives; got {len(columns)} columns")
        queries, positives, *negatives = columns
        scores = _unlike(queries @ positives.T / self.temperature, labels)
        against = [scores, *(queries @ column.T / self.temperature for column in negatives)]
        return own_column(torch.cat(against, dim=1)) + own_column(scores.T)


class CoSENTLoss(EmbeddingLoss):
    """
    Pairs that people called more alike should be more alike: ln(1 + sum of exp((s_low - s_high) / temperature)).

    The sum runs over all pairs of pairs whose labels differ (equation 4, its differences in the exponent, as in
    CoSENT's own code). Two columns and a label each. Time n log n and memory n: pairs are sorted by label, so that the
    sum of all lower ones is a running one.
    """

    def __init__(self, model: torch.nn.Module, temperature: float = 0.05) -> None:
        super().__init__(model, temperature)

    def compare(self, columns: list[Rows], labels: torch.Tensor | None) -> torch.Tensor:
        """The loss of two columns and their scores."""
        if len(columns) != 2 or labels is None:
            raise DataError(f"CoSENTLoss takes two columns and a score for each row; got {len(columns)} columns")
        return cosent((columns[0] * columns[1]).sum(dim=-1), labels, self.temperature)


class SeparationLoss(EmbeddingLoss):
    """
    Texts that share a label should be more alike than texts that do not: CoSENT over all pairs of the batch's texts.

    Equation 5 as printed has pairs of one label alone, between which nothing differs; here all pairs count, with
    target 1 for one label and 0 for two. Any number of columns, each with the labels of its rows. `max_pairs` draws so
    many of the pairs at each step; without it all are used, which the sum's form makes cheap (512 texts: 131,000
    pairs, not 10 billion pairs of pairs).
    """

    def __init__(self, model: torch.nn.Module, temperature: float = 0.05, max_pairs: int | None = None) -> None:
        super().__init__(model, temperature)
        if max_pairs is not None and max_pairs < 2:
            raise DataError(f"max_pairs is {max_pairs}; give at least 2")
        self.max_pairs = max_pairs

    def compare(self, columns: list[Rows], labels: torch.Tensor | None) -> torch.Tensor:
        """The loss of all columns' texts together."""
        if labels is None:
            raise DataError("SeparationLoss needs a label for each row")
        texts, each = torch.cat(columns), labels.repeat(len(columns))
        one, other = torch.triu_indices(len(texts), len(texts), offset=1, device=texts.device)
        if self.max_pairs is not None and len(one) > self.max_pairs:
            drawn = torch.randperm(len(one), device=one.device)[: self.max_pairs]
            one, other = one[drawn], other[drawn]
        return cosent((texts @ texts.T)[one, other], each[one] == each[other], self.temperature)


def _unlike(scores: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """The scores with -inf where two different rows share a label."""
    if labels is None:
        return scores
    same = labels[:, None] == labels[None, :]
    return scores.masked_fill(same & ~torch.eye(len(labels), dtype=torch.bool, device=scores.device), -torch.inf)
