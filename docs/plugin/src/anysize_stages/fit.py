"""What the method runs: one pass over the data a step, and a loss at every size."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

import anysize as az
from anysize_stages.method import Stages
from anysize_stages.model import ResidualQuantizer
from anysize_stages.rows import learnt


def fit(method: Stages, data: az.Data, workdir: Path, resume: bool) -> ResidualQuantizer:
    """Learn from vectors; seconds, so nothing is kept in `workdir` and `resume` begins anew."""
    model, x = begun(method, data), torch.as_tensor(learnt(data))
    spread = float(x.var(0).mean()) or 1.0
    optimizer = torch.optim.Adam([model.codebooks], lr=method.learning_rate * spread**0.5)
    generator = torch.Generator().manual_seed(method.seed)
    for _ in range(method.epochs):
        for rows in torch.randperm(len(x), generator=generator).split(method.batch_size):
            terms = az.nested_loss(model.nesting, partial(_loss, model.outputs(x[rows]), x[rows], spread))
            optimizer.zero_grad()
            terms.total.backward()
            optimizer.step()
    model.about = {"learnt_from": "vectors", "rows": len(x)}
    return model.eval()


def _loss(rebuilt: dict[az.Size, torch.Tensor], x: torch.Tensor, spread: float, size: az.Size) -> torch.Tensor:
    return (rebuilt[size] - x).square().mean() / spread


@torch.no_grad()
def begun(method: Stages, data: az.Data) -> ResidualQuantizer:
    """Codebooks of rows drawn at random from what the stages before leave over: where learning begins."""
    x = torch.as_tensor(learnt(data))
    model = ResidualQuantizer(az.Nesting(stages=method.stages), x.shape[1], min(method.entries, len(x)))
    model.mean.copy_(x.mean(0))
    generator, left = torch.Generator().manual_seed(method.seed), x - model.mean
    for book in model.codebooks:
        book.copy_(left[torch.randperm(len(x), generator=generator)[: len(book)]])
        book[0] = 0  # a stage that has nothing to add may add nothing
        left = left - book[torch.cdist(left, book).argmin(1)]
    return model
