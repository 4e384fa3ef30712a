"""What the routers of MoME do at a scale, on sound or on lips alone; and how much scales agree, beside a control."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from anysize.core.errors import AnysizeError
from anysize.tokens.adapters.experts import Experts
from anysize.tokens.speech.model import Heard, NestedSpeech
from anysize.tokens.speech.scaled.scales import Scale
from anysize.tokens.speech.scaled.sequences import AUDIO, VIDEO

KINDS = {"audio": AUDIO, "video": VIDEO}


class Routing(NamedTuple):
    """What routers chose for the tokens of one kind; text, which is the same at every scale, would feign agreement."""

    chosen: np.ndarray
    """(layers, tokens, k) experts."""
    entropy: np.ndarray
    """(layers,) mean entropy of what a router says, in nats."""
    experts: int

    @property
    def shares(self) -> np.ndarray:
        """(layers, experts): which share of the choices each expert has."""
        counts = [np.bincount(layer.ravel(), minlength=self.experts) for layer in self.chosen]
        return np.stack(counts) / self.chosen[0].size

    @property
    def dead(self) -> int:
        """Experts, over all layers, that no token chose."""
        return int((self.shares == 0).sum())


@torch.no_grad()
def routing(model: NestedSpeech, read: Heard, scale: Scale, kind: str = "audio", *, batch_size: int = 32) -> Routing:
    """The routers' choices at one scale for clips of its task. Raises `AnysizeError` for a model without routers."""
    experts = model.adapters
    if not isinstance(experts, Experts) or not experts.spec["experts"]:
        raise AnysizeError("this model has no routers; fit it by --method mome with --experts above 0")
    chosen: list[list[np.ndarray]] = [[] for _ in experts.layers]
    entropy: list[list[np.ndarray]] = [[] for _ in experts.layers]
    experts.recording = True
    try:
        for start in range(0, len(read.tasks), batch_size):
            part = read.take(range(start, min(start + batch_size, len(read.tasks))))
            batch = model.writer.batch(model.rows(part, scale), model.marks)
            model.logits(batch, scale, 1)
            there, ran = batch.kinds == KINDS[kind], experts.ran
            assert ran is not None
            for layer, (one, said) in enumerate(zip(ran.chosen, ran.entropy, strict=True)):
                chosen[layer].append(one[there].cpu().numpy())
                entropy[layer].append(said[there].cpu().numpy())
    finally:
        experts.recording = False
    means = np.array([np.concatenate(layer).mean() for layer in entropy])
    return Routing(np.stack([np.concatenate(layer) for layer in chosen]), means, int(experts.spec["experts"]))


def divergence(one: np.ndarray, other: np.ndarray) -> float:
    """Jensen-Shannon divergence in nats between shares (layers, experts), the mean over layers."""
    middle = (one + other) / 2
    return float((_relative(one, middle) + _relative(other, middle)).mean() / 2)


def _relative(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of each layer."""
    found: np.ndarray = (one * np.log(np.where(one > 0, one, 1) / np.where(one > 0, other, 1))).sum(-1)
    return found


def shuffled(one: Routing, seed: int = 0) -> Routing:
    """The control: the experts of each layer under other names, as often chosen as they were."""
    rng = np.random.default_rng(seed)
    names = [rng.permutation(one.experts) for _ in one.chosen]
    return one._replace(chosen=np.stack([kept[layer] for kept, layer in zip(names, one.chosen, strict=True)]))
