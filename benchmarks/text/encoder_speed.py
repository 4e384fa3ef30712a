"""
What depth buys and what training all sizes costs: encoding at fewer layers, every size at once, and each loss's step.

    python -m benchmarks.text.encoder_speed --data DATA_DIR      # about five minutes of one core

Processor time of one thread, medians over repeats in which the arms take turns, so that a busy machine slows all alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses as peers
from transformers.models.bert.modeling_bert import BertLayer

from anysize.backbones.sentence import Encoder
from anysize.core.data.read import read
from anysize.text import AdaptiveLayerLoss, Matryoshka2dLoss, NestedEncoder, Starbucks, StarbucksLoss
from anysize.text.depth.fit import base_of
from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.timing import ratio, taking_turns

MODEL, DIMS = "all-MiniLM-L6-v2", (24, 48, 96, 192, 384)
MENU = [(1, 24), (2, 48), (3, 96), (4, 192), (6, 384)]


def encoding(texts: list[str], repeats: int) -> None:
    """Rows: fewer layers take less time; all sizes take hardly more than one."""
    model = NestedEncoder.from_pretrained(MODEL, layers=(1, 2, 3, 4, 5, 6), dims=DIMS)
    plain = Encoder(MODEL).model
    views = {f"layers={n}": model.at(layers=n, dims=384) for n in model.depths}
    arms: dict[str, Callable[[], Any]] = {name: partial(view.encode, texts) for name, view in views.items()}
    arms["all sizes"] = lambda: model.encode(texts, sizes=model.nesting)
    arms["sentence-transformers"] = lambda: plain.encode(texts, batch_size=64, show_progress_bar=False)
    found = taking_turns(arms, repeats)
    ratios = {name: ratio(found, name, "layers=6") for name in arms}
    half, everything = ratios["layers=3"], ratios["all sizes"]
    write_row(
        "layers-latency",
        paper="2D Matryoshka Sentence Embeddings, arXiv 2402.14776",
        claim="Three of six layers take at most 0.6 of the full encoder's time, and all sizes at once at most 1.1",
        reported="half the layers about twice as fast (sentence-transformers' documentation, mpnet-base)",
        arms=list(arms),
        metric="processor time, one thread, as a share of the full encoder's; median over turns",
        values={"share": ratios, "ms": {name: float(np.median(times)) for name, times in found.items()}},
        outcome="won" if half <= 0.6 and everything <= 1.1 else "mixed" if half <= 0.6 or everything <= 1.1 else "lost",
        note=f"3 layers {half:.2f}, 2 layers {ratios['layers=2']:.2f}, 1 layer {ratios['layers=1']:.2f}; all "
        f"{len(model.nesting)} sizes of six depths and five widths {everything:.2f}. sentence-transformers' own "
        f"encode of the same texts takes {ratios['sentence-transformers']:.2f} (it does not normalise twice).",
        command=f"python -m benchmarks.text.encoder_speed --data DATA_DIR --repeats {repeats}",
        data=f"{len(texts)} sentences of STS-B",
    )
    print(ratios)


def batch(model: SentenceTransformer, columns: list[list[str]]) -> list[dict[str, Any]]:
    """Token ids of each column."""
    return [dict(model.preprocess(texts)) for texts in columns]


def step(loss: torch.nn.Module, features: list[dict[str, Any]]) -> Callable[[], torch.Tensor]:
    """Forward and backward of one batch."""

    def run() -> torch.Tensor:
        loss.zero_grad()
        random.seed(0)
        value = loss([dict(column) for column in features], None)
        value.backward()
        return value.detach()

    return run


def agreement(model: SentenceTransformer, one: Callable, other: Callable) -> dict[str, float]:
    """How far values and gradients of two steps are apart, relative to the largest."""
    value, grads = one(), {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}
    theirs = other()
    apart = max(float((grads[name] - w.grad).abs().max()) for name, w in model.named_parameters() if w.grad is not None)
    largest = max(float(grad.abs().max()) for grad in grads.values())
    return {"value": float((value - theirs).abs() / theirs.abs()), "gradient": apart / largest}


def without_dropout(model: SentenceTransformer) -> SentenceTransformer:
    """The model in training, so that two losses see the same vectors."""
    for module in model.train().modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


class Scale(BertLayer):
    """A block that only scales its input: hidden states to take a loss of, at no cost."""

    def __init__(self, width: int) -> None:
        torch.nn.Module.__init__(self)
        self.weight = torch.nn.Parameter(1 + 0.1 * torch.randn(width))

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """The states, scaled."""
        return hidden_states * self.weight


def nothing_but_losses(columns: list[list[str]], repeats: int) -> dict[str, float]:
    """Milliseconds of forward and backward of ours and theirs, of a model whose blocks cost next to nothing."""
    model = without_dropout(Encoder(MODEL).model)
    transformer: Any = model[0]
    transformer.auto_model.embeddings.requires_grad_(False)  # the gradient of the table of words is no loss's
    blocks = transformer.auto_model.encoder.layer
    for place in range(len(blocks)):
        blocks[place] = Scale(transformer.auto_model.config.hidden_size)
    features = batch(model, columns)
    steps = {
        f"{whose}: {name}": step(loss, features)
        for name, pair in beside(model).items()
        for whose, loss in zip(("ours as theirs", "theirs"), pair, strict=True)
    }
    return {name: float(np.median(times)) for name, times in taking_turns(steps, 3 * repeats).items()}


def beside(model: SentenceTransformer) -> dict[str, tuple[torch.nn.Module, torch.nn.Module]]:
    """Ours in the mode that is sentence-transformers' class of the same name, and theirs."""
    inner = peers.MultipleNegativesRankingLoss(model)
    both: dict[str, Any] = {"n_layers_per_step": -1, "n_dims_per_step": -1}
    one_each: dict[str, Any] = {"n_layers_per_step": 1, "n_dims_per_step": 1}
    return {
        "2d, one layer and width": (
            Matryoshka2dLoss.as_sentence_transformers(model, inner, matryoshka_dims=DIMS, **one_each),
            peers.Matryoshka2dLoss(model, inner, list(DIMS), **one_each),
        ),
        "2d, all": (
            Matryoshka2dLoss.as_sentence_transformers(model, inner, matryoshka_dims=DIMS, **both),
            peers.Matryoshka2dLoss(model, inner, list(DIMS), **both),
        ),
        "layers, all": (
            AdaptiveLayerLoss.as_sentence_transformers(model, inner, n_layers_per_step=-1),
            peers.AdaptiveLayerLoss(model, inner, n_layers_per_step=-1),
        ),
    }


def alone(layers: int, dims: int) -> torch.nn.Module:
    """The loss of one size, of a model of that depth."""
    model, sizes = base_of(Starbucks(model=MODEL, sizes=(f"{layers}:{dims}",)))
    without_dropout(model)
    return StarbucksLoss(model, peers.MultipleNegativesRankingLoss(model), sizes)


def training(columns: list[list[str]], repeats: int) -> None:
    """Rows: the step of each loss beside sentence-transformers', and the menu's beside one size's and five runs'."""
    model = without_dropout(Encoder(MODEL).model)
    inner = peers.MultipleNegativesRankingLoss(model)
    features = batch(model, columns)
    twins = beside(model)
    runs = {f"{layers}:{dims} alone": alone(layers, dims) for layers, dims in MENU[:-1]}
    losses = {
        "one size": inner,
        "starbucks, 5 sizes": StarbucksLoss(model, inner, MENU),
        "2dmse": Matryoshka2dLoss(model, inner, DIMS),
        **{f"ours as theirs: {name}": ours for name, (ours, _) in twins.items()},
        **{f"theirs: {name}": theirs for name, (_, theirs) in twins.items()},
        **runs,
    }
    steps: dict[str, Callable[[], Any]] = {name: step(loss, features) for name, loss in losses.items()}
    agree = {
        name: agreement(model, steps[f"ours as theirs: {name}"], steps[f"theirs: {name}"])
        for name in ("2d, all", "layers, all")
    }
    found = taking_turns(steps, repeats)
    losses_alone = nothing_but_losses(columns, repeats)
    shares = {name: ratio(found, name, "one size") for name in steps}
    told = {name: ratio(found, f"ours as theirs: {name}", f"theirs: {name}") for name in twins}
    alone_told = {name: losses_alone[f"ours as theirs: {name}"] / losses_alone[f"theirs: {name}"] for name in twins}
    five = np.array(found["one size"]) + np.sum([found[name] for name in runs], axis=0)
    of_five = float(np.median(np.array(found["starbucks, 5 sizes"]) / five))
    shared: dict[str, Any] = {
        "metric": "processor time of forward and backward, one thread, as a share of one size's; median over turns",
        "values": {
            "share": shares,
            "ms of a step": {name: float(np.median(times)) for name, times in found.items()},
            "ms of the loss (blocks that only scale)": losses_alone,
            "the menu over five runs, each at its own depth": of_five,
            **{f"apart, {name}": figures for name, figures in agree.items()},
        },
        "arms": list(found),
        "command": f"python -m benchmarks.text.encoder_speed --data DATA_DIR --repeats {repeats}",
        "data": f"{len(columns[0])} triplets of STS-B sentences, {features[0]['input_ids'].shape[1]} tokens",
    }
    cost = shares["starbucks, 5 sizes"]
    write_row(
        "starbucks-cost",
        paper="Starbucks, arXiv 2410.13230",
        claim="A step over a menu of five sizes costs at most 1.15 of a step over one",
        reported="one training run instead of one per size",
        outcome="won" if cost <= 1.15 else "lost",
        note=f"Five sizes {cost:.2f} of one size, and {of_five:.2f} of five runs, each of a model of its own depth; "
        f"2DMSE {shares['2dmse']:.2f} of one size.",
        **shared,
    )
    value, gradient = (max(one[what] for one in agree.values()) for what in ("value", "gradient"))
    equal = value <= 1e-5 and gradient <= 1e-4
    write_row(
        "2dmse-losses",
        paper="2D Matryoshka Sentence Embeddings, arXiv 2402.14776",
        claim="In the mode that is sentence-transformers' Matryoshka2dLoss or AdaptiveLayerLoss, values and gradients "
        "are the same and a step takes no longer",
        reported="none; sentence-transformers 6.2 is the peer, in the same run",
        outcome="won" if equal and max(told.values()) <= 1.0 else "tied" if equal else "lost",
        note=f"Values {value:.1e} apart, gradients {gradient:.1e}, both relative. Our step over theirs: "
        + "; ".join(f"{name} {share:.2f}" for name, share in told.items())
        + ". The loss alone, of a model whose blocks only scale, over theirs: "
        + "; ".join(f"{name} {share:.2f}" for name, share in alone_told.items())
        + ".",
        **shared,
    )
    print(shares, told, losses_alone, of_five, agree)


def main() -> None:
    """Measure and write the rows."""
    parser = arguments(__doc__, "data", repeats=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    scored = read(args.data / "stsb/test.tsv").scored
    assert scored is not None
    texts = list(dict.fromkeys([*scored["sentence1"], *scored["sentence2"]]))
    encoding(texts[:256], args.repeats)
    first, second = list(scored["sentence1"]), list(scored["sentence2"])
    training([first[:32], second[:32], first[32:64]], args.repeats)


if __name__ == "__main__":
    main()
