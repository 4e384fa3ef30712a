"""
RASA (Venkataramanan, Pariza et al. 2025, arXiv 2507.14137): planes of position, found one after the other, taken out.

Of patch tokens z the best plane span(u, v) that says (row, column) is found, and z becomes z - <z, u>u - <z, v>v; then
again. All steps together are one matrix. In the released code a later plane may have parts along the earlier ones and
put energy back; here each is found among what is left, so the matrix is one symmetric projection (`orthogonal=False`
has theirs).
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.vision.rasa.probing import Grid, Moments, as_tokens

Solver = Literal["ridge", "sgd", "erase"]


class RASA:
    """
    Finds and removes the directions that say where a patch lies. Of any encoder's patch tokens, or of arrays.

    `solver`: ``erase``, the two directions of cross-covariance, after which a linear probe knows nothing of the
    pictures it was fitted on, so one step is all it makes; ``ridge``, the directions of a ridge regression, which take
    little of position each; ``sgd``, the official sigmoid head, trained with AdamW, which needs many steps. `stop`
    ends early, once the R2 of a probe on pictures
    that are left out is below it. Class and register tokens are not for it. Norms change: normalise after.
    """

    def __init__(
        self,
        n_iterations: int = 8,
        *,
        solver: Solver = "erase",
        orthogonal: bool = True,
        stop: float | None = 0.02,
        lr: float = 2e-4,
        epochs: int = 5,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        if n_iterations < 1 or epochs < 1 or batch_size < 1 or not lr > 0:
            raise AnysizeError("n_iterations, epochs, batch_size and lr are above zero")
        if solver not in ("ridge", "sgd", "erase"):
            raise AnysizeError(f"the solver is ridge, sgd or erase; got {solver!r}")
        self.n_iterations, self.solver, self.orthogonal, self.stop = n_iterations, solver, orthogonal, stop
        self.lr, self.epochs, self.batch_size, self.seed = lr, epochs, batch_size, seed
        self.components_ = torch.zeros(0, 2, 0)
        """(T, 2, width): two unit vectors a step, at right angles."""
        self.matrix_ = torch.zeros(0, 0)
        """(width, width): what z is multiplied by, ``z @ matrix_.T``."""
        self.position_r2_: list[float] = []
        """Of a fresh probe on pictures left out: before, and after each step."""

    def fit(self, patch_tokens: Any, grid: Any = None) -> Self:
        """
        Learn from patch tokens (n, tokens, width) or (n, rows, columns, width) of n pictures, a fifth left out.

        Raises `DataError` for fewer than two pictures, tokens that are no grid, or of which none is left to remove.
        """
        tokens, shape = as_tokens(patch_tokens, grid)
        if len(tokens) < 2:
            raise DataError(f"{len(tokens)} picture is too few to tell place from content; give at least 2, better 100")
        width = tokens.shape[2]
        steps = 1 if self.solver == "erase" else self.n_iterations
        if 2 * steps > width:
            raise SizeError(f"{steps} planes are more than features of {width} dimensions have")
        apart = max(2, min(5, len(tokens)))
        left_out = torch.arange(len(tokens)) % apart == apart - 1
        learnt, judged = Moments(tokens[~left_out], shape), Moments(tokens[left_out], shape)
        every, planes = torch.eye(width, dtype=torch.float64), torch.zeros(0, 2, width, dtype=torch.float64)
        self.position_r2_ = [_judged(learnt, judged)]
        steps = 1 if self.solver == "erase" else self.n_iterations
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(steps):
            now = learnt.through(every)
            if self.solver == "sgd":
                found = self._trained(tokens[~left_out] @ every.T.float(), shape, planes, generator)
            else:
                found = (now.cross if self.solver == "erase" else now.probe()).T
            plane = self._plane(found.double(), planes)
            if plane is None:
                break
            planes = torch.cat([planes, plane[None]])
            every = every - plane.T @ (plane @ every)
            self.position_r2_.append(_judged(learnt.through(every), judged.through(every)))
            if self.stop is not None and self.position_r2_[-1] < self.stop:
                break
        self.components_, self.matrix_ = planes.float(), every.float()
        return self

    def _plane(self, weights: torch.Tensor, before: torch.Tensor) -> torch.Tensor | None:
        """Two unit vectors at right angles that span the weights (2, width); None where nothing is left."""
        flat = before.flatten(0, 1)
        if self.orthogonal:
            for _ in range(2):  # twice is enough: what rounding left of earlier planes goes the second time
                weights = weights - weights @ flat.T @ flat
        row = functional.normalize(weights[0], dim=0)
        column = weights[1] - (weights[1] @ row) * row
        smallest = 1e-10 * max(1e-30, float(weights.norm()))
        if not torch.isfinite(weights).all() or min(float(weights[0].norm()), float(column.norm())) <= smallest:
            return None
        plane = torch.stack([row, functional.normalize(column, dim=0)])
        if self.orthogonal:
            plane = torch.linalg.qr((plane - plane @ flat.T @ flat).T)[0].T
        return plane

    def _trained(
        self, tokens: torch.Tensor, grid: Grid, before: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """The official head: ``sigmoid(W z)``, no bias, mean squared error, AdamW without decay, cosine to zero."""
        bound = tokens.shape[2] ** -0.5  # as torch.nn.Linear begins
        weights = torch.nn.Parameter((torch.rand(2, tokens.shape[2], generator=generator) * 2 - 1) * bound)
        optimizer = torch.optim.AdamW([weights], lr=self.lr, weight_decay=0.0)
        steps = self.epochs * -(-len(tokens) // self.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        flat, places = before.flatten(0, 1).float(), grid.places()
        for _ in range(self.epochs):
            for rows in torch.randperm(len(tokens), generator=generator).split(self.batch_size):
                free = weights - weights @ flat.T @ flat if self.orthogonal else weights
                loss = functional.mse_loss(torch.sigmoid(tokens[rows] @ free.T), places.expand(len(rows), -1, -1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        return weights.detach()

    @property
    def fitted(self) -> torch.Tensor:
        """`matrix_`. Raises `AnysizeError` before `fit`."""
        if not self.matrix_.numel():
            raise AnysizeError("nothing was learnt yet; call fit(patch_tokens) first")
        return self.matrix_

    def transform(self, tokens: Any) -> Any:
        """Tokens (..., width) without position, as the array or tensor that they were. Raises `SizeError`."""
        matrix = self.fitted
        if tokens.shape[-1] != len(matrix):
            raise SizeError(f"tokens of width {tokens.shape[-1]}; expected {len(matrix)}, as was learnt from")
        if isinstance(tokens, np.ndarray):
            return tokens @ matrix.numpy().T.astype(tokens.dtype)
        return tokens @ matrix.T.to(tokens)

    def to_linear(self) -> torch.nn.Linear:
        """The same as a layer without bias, to stand after the final normalisation of a network."""
        layer = torch.nn.Linear(len(self.fitted), len(self.fitted), bias=False)
        layer.weight = torch.nn.Parameter(self.fitted.clone())
        return layer

    def merge_into(self, linear: torch.nn.Linear) -> torch.nn.Linear:
        """
        Let a layer that reads the tokens do it: its weight W becomes W @ matrix_, in place; gives the layer.

        It must read what was learnt from. A normalisation between the two does not let itself be passed: merge into
        what comes after. Raises `SizeError` for another width.
        """
        if linear.in_features != len(self.fitted):
            raise SizeError(f"the layer reads {linear.in_features} features; expected {len(self.matrix_)}")
        with torch.no_grad():
            linear.weight.copy_((linear.weight.double() @ self.fitted.to(linear.weight).double()).to(linear.weight))
        return linear


def _judged(learnt: Moments, judged: Moments) -> float:
    return judged.r2(learnt.probe(), learnt.mean)
