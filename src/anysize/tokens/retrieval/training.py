"""
The contrastive loss over sizes (MME, section 4.2): every size of queries with every size of documents, apart.

With unit vectors q at size j and d at size k, ``l(j, k)`` is the mean over queries of ``-log softmax(q . d / t)`` at
their own document. ``mean`` is the mean of l over all pairs of sizes, ``mrl`` over pairs of equal ones, ``random`` l of
one size. A document at another size is no negative of its own, so each pair of sizes has a softmax of its own; nor is
another document of the batch that is known to answer the query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from anysize.backbones.vision.prompts import Prompt
from anysize.core.data.held_out import key_of
from anysize.core.losses.columns import own_column
from anysize.core.losses.nested import Random, told
from anysize.core.sizes.size import Size
from anysize.tokens.retrieval.model import Interleaved

Row = tuple[Sequence[Mapping[str, Any]], ...]
"""The parts of a query, of its document, and of any documents that do not answer it."""


def infonce(
    queries: torch.Tensor, documents: torch.Tensor, temperature: float, known: torch.Tensor | None = None
) -> torch.Tensor:
    """
    Unit vectors (n, d) and (m, d), of which document i answers query i; in float32 whatever they are in.

    `known` (n, m) says which others answer a query as well: they are no negatives.
    """
    scores = queries.float() @ documents.float().T / temperature
    if known is not None:
        own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(known & ~own, -torch.inf)
    return own_column(scores)


class RetrievalTraining(nn.Module):
    """The loss of a batch of queries and documents at the sizes of the step; what `train` trains."""

    step: torch.Tensor

    def __init__(self, model: Interleaved, draw: str, temperature: float, seed: int = 0) -> None:
        super().__init__()
        self.model, self.draw, self.temperature, self.seed = model, draw, temperature, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.long))  # a checkpoint keeps it, so a resume goes on

    def pairs(self) -> list[tuple[Size, Size]]:
        """Sizes of queries and of documents that this step compares: on every rank the same."""
        sizes = tuple(self.model.nesting)
        if self.draw == "random":
            sizes = Random(1).pick(self.model.nesting, int(self.step), self.seed)
        return [(one, other) for one in sizes for other in sizes if self.draw == "mean" or one == other]

    def forward(self, prompts: Sequence[Prompt], pixels: torch.Tensor, known: torch.Tensor) -> dict[str, Any]:
        """``{"loss": ...}`` of `known` (n, m): n queries, then m documents, the first n of which answer them."""
        pairs, count = self.pairs(), len(known)
        if self.training:
            self.step += 1
        states = self.model.states(prompts, pixels, [size for size, _ in pairs])
        units = {size: functional.normalize(state.float(), dim=-1) for size, state in states.items()}
        terms = {
            (one, other): infonce(units[one][:count], units[other][count:], self.temperature, known)
            for one, other in pairs
        }
        loss = torch.stack(list(terms.values())).mean()
        return {"loss": loss, **told(self, {one: term for (one, other), term in terms.items() if one == other})}


class Batches:
    """Makes the arguments of `RetrievalTraining` of rows."""

    def __init__(self, model: Interleaved, rows: Sequence[Row]) -> None:
        self.model = model
        self.answers: dict[str, set[str]] = {}
        for query, document, *_ in rows:
            self.answers.setdefault(key_of(query), set()).add(key_of(document))

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        """All queries, all documents that answer them, then those that do not."""
        queries, *documents = zip(*rows, strict=True)
        listed = [one for column in documents for one in column]
        keys = [key_of(one) for one in listed]
        known = [[key in self.answers[key_of(query)] for key in keys] for query in queries]
        every = [*queries, *listed]
        return {
            "prompts": self.model.prompts(every),
            "pixels": self.model.pixels(every),
            "known": torch.tensor(known),
        }
