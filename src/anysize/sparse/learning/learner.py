"""One autoencoder in training: weights, optimiser, dead-latent counters, and the step that moves them."""

from __future__ import annotations

import math
import sys

import torch

from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.autoencoder.ranks import rank_in_row
from anysize.sparse.learning.calibration import threshold_for
from anysize.sparse.learning.contrastive import contrastive
from anysize.sparse.learning.dead import dead_latent_loss
from anysize.sparse.learning.jumprelu import jump, penalty
from anysize.sparse.learning.kernels import encoded
from anysize.sparse.learning.levels_loss import loss_of_levels
from anysize.sparse.learning.recipe import Recipe
from anysize.sparse.learning.selecting import Selected, select_above, select_batch, select_relu, select_topk
from anysize.sparse.rows.stored import SparseBatch


class Learner:
    """Trains one `SparseAutoencoder` by a `Recipe`; among several processes each gets a part of every batch."""

    def __init__(self, recipe: Recipe, mean: torch.Tensor, scale: float, device: torch.device | str = "cpu") -> None:
        self.recipe, self.device = recipe, torch.device(device)
        self.sae = sae = SparseAutoencoder(
            recipe.nesting, len(mean), activation=recipe.activation, latents=recipe.latents, active=recipe.active
        ).to(device)
        # Drawn on the processor, so that a seed means the same everywhere.
        random = torch.Generator("cpu").manual_seed(recipe.seed)
        rows = torch.randn(recipe.latents, len(mean), generator=random, device="cpu")
        with torch.no_grad():
            sae.W_dec.copy_(torch.nn.functional.normalize(rows, dim=1))
            # Latent by latent in memory, so that a latent's gradient is one run of it. Tied, it is the same memory.
            sae.W_enc.data = sae.W_dec.data.T if recipe.tied else sae.W_dec.data.clone().T
            sae.mean.copy_(mean)
            sae.scale.fill_(scale)
        start = torch.full((recipe.latents,), math.log(recipe.threshold), device=self.device)
        self.log_threshold = torch.nn.Parameter(start) if recipe.activation == "jumprelu" else None
        self.trained = [sae.W_dec, sae.b_enc, sae.b_dec, *([] if recipe.tied else [sae.W_enc])]
        if self.log_threshold is not None:
            self.trained.append(self.log_threshold)
            self._show_thresholds()
        self.optimizer = torch.optim.Adam(
            self.trained, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.eps, fused=True
        )
        self.silent = torch.zeros(recipe.latents, dtype=torch.int64, device=self.device)
        self._said_dead = False

    def begin(self, rows: torch.Tensor) -> None:
        """Where thresholds learn towards a number of active latents: start where `rows` (n, d) have that many."""
        if self.log_threshold is not None and self.recipe.active is not None:
            found = threshold_for(self.sae, rows, self.recipe.active)
            with torch.no_grad():
                self.log_threshold.fill_(math.log(max(found, self.recipe.threshold)))
            self._show_thresholds()

    @torch.no_grad()
    def _show_thresholds(self) -> None:
        assert self.log_threshold is not None
        self.sae.threshold.copy_(self.log_threshold.exp())

    # One step

    def loss(self, batch: SparseBatch, step: int, steps: int = 1) -> tuple[torch.Tensor, Selected]:
        """The loss of one batch at one of `steps` steps, with gradients, and which latents were active."""
        sae, recipe, batch = self.sae, self.recipe, batch.to(self.device)
        x = (batch.x - sae.mean) * sae.scale
        W_enc = sae.W_dec.T if recipe.tied else sae.W_enc
        centred = x - sae.b_dec.detach()
        times = recipe.more_active(step, steps)
        found = self.select(centred, W_enc, times)
        values = encoded(found.values, found.entries, centred, W_enc, sae.b_enc, sae.b_dec)
        count = None
        if self.log_threshold is not None:
            values, count = jump(values, self.log_threshold, found.entries.latents, recipe.bandwidth)
        selected = Selected(found.entries, values)
        rebuilt = loss_of_levels(recipe, selected, x, sae.W_dec, sae.b_dec, step, times)
        total = rebuilt.loss
        if recipe.l1:
            total = total + recipe.l1 * values.sum() / len(x)
        if count is not None:
            rise = recipe.l0_rise * steps
            total = total + penalty(count, len(x), recipe, min(1.0, (step + 1) / rise) if rise >= 1 else 1.0)
            found = found.kept((values > 0).nonzero().squeeze(1))
        if recipe.aux:
            dead = (self.silent >= recipe.dead_after).nonzero().squeeze(1)
            if len(dead):
                k_aux = recipe.k_aux or max(1, sae.width // 2)
                total = total + recipe.aux * dead_latent_loss(centred, rebuilt.left, W_enc, sae, dead, k_aux)
        if recipe.contrast:
            total = total + recipe.contrast * contrastive(self.smallest(selected, times), batch, recipe)
        return total, found

    def select(self, centred: torch.Tensor, W_enc: torch.Tensor, times: float = 1.0) -> Selected:
        """The entries that the activation keeps, over the widest level, where k says how many `times` as many."""
        recipe = self.recipe
        pieces = (centred, W_enc.detach(), self.sae.b_enc.detach())
        if recipe.activation == "batchtopk":
            assert recipe.active is not None
            return select_batch(*pieces, min(recipe.active * times, recipe.latents), bf16=recipe.bf16)
        if recipe.activation == "topk":
            assert self.sae.active is not None
            return select_topk(*pieces, min(round(self.sae.active * times), recipe.latents), bf16=recipe.bf16)
        if recipe.activation == "jumprelu":
            return select_above(*pieces, self.sae.threshold - recipe.bandwidth / 2, bf16=recipe.bf16)
        return select_relu(*pieces, bf16=recipe.bf16)

    def smallest(self, selected: Selected, times: float = 1.0) -> Selected:
        """The entries of the sparsest level alone."""
        if "active" not in self.recipe.nesting.axes:
            return selected
        rank = rank_in_row(selected.entries.rows, selected.values.detach(), selected.entries.n)
        return selected.kept((rank < self.recipe.levels_now(times)[0]).nonzero().squeeze(1))

    def gradients(self, batch: SparseBatch, step: int, steps: int = 1) -> tuple[torch.Tensor, Selected]:
        """The loss, after its gradients were left in the weights."""
        self.optimizer.zero_grad()
        total, found = self.loss(batch, step, steps)
        total.backward()
        return total.detach(), found

    @torch.no_grad()
    def tidy(self) -> torch.Tensor:
        """Take the part along each dictionary row off its gradient, bound the gradient; its norm before that."""
        sae = self.sae
        if self.recipe.unit_norm and sae.W_dec.grad is not None:
            along = (sae.W_dec.grad * sae.W_dec).sum(1, keepdim=True)
            sae.W_dec.grad.addcmul_(along, sae.W_dec, value=-1)
        norms = [torch.linalg.vector_norm(part.grad) for part in self.trained if part.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if norm > self.recipe.clip:
            for part in self.trained:
                if part.grad is not None:
                    part.grad.mul_(self.recipe.clip / norm)
        return norm

    @torch.no_grad()
    def move(self, step: int, steps: int) -> None:
        """One step of the optimiser, after which dictionary rows have unit length again."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * self._share(step, steps)
        self.optimizer.step()
        if self.recipe.unit_norm:
            self.sae.W_dec.div_(torch.linalg.vector_norm(self.sae.W_dec, dim=1, keepdim=True).clamp_min(1e-8))
        if self.log_threshold is not None:
            self._show_thresholds()

    def _share(self, step: int, steps: int) -> float:
        """Of the learning rate: up, level, and down."""
        up, down = self.recipe.warmup * steps, self.recipe.decay * steps
        rising = (step + 1) / up if up >= 1 else 1.0
        falling = (steps - step) / down if down >= 1 else 1.0
        return min(1.0, rising, falling)

    def count(self, fired: torch.Tensor) -> int:
        """Note which latents fired, (F,) counts; how many are dead. Says so once if all are."""
        self.silent = torch.where(fired > 0, 0, self.silent + 1)
        dead = int((self.silent >= self.recipe.dead_after).sum())
        if dead == len(self.silent) and not self._said_dead:
            self._said_dead = True
            sys.stderr.write(
                f"anysize: all {dead} latents are dead; training goes on with the dead-latent loss, but a lower "
                "learning-rate or other data may be needed\n"
            )
        return dead

    # Checkpoints

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next step depends on."""
        held = {name: part.detach() for name, part in self.sae.saved_state().items()}
        held["silent"] = self.silent
        if self.log_threshold is not None:
            held["log_threshold"] = self.log_threshold.detach()
        for place, part in enumerate(self.trained):
            for name, value in self.optimizer.state[part].items():
                held[f"{place}.{name}"] = value
        return held

    @torch.no_grad()
    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from what `state` gave."""
        for name, part in self.sae.saved_state().items():
            part.copy_(state[name])
        self.silent = state["silent"].to(self.device)
        if self.log_threshold is not None:
            self.log_threshold.copy_(state["log_threshold"])
        for place, part in enumerate(self.trained):
            names = ("step", "exp_avg", "exp_avg_sq")
            self.optimizer.state[part] = {name: _like(part, state[f"{place}.{name}"]) for name in names}


def _like(part: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The same numbers, laid out in memory as `part` is."""
    return torch.empty_like(part).copy_(value) if value.shape == part.shape else value.to(part.device)
