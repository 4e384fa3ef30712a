"""
Answers learnt at several budgets (M3, section 3.2; MQT, section 3.2): the tower runs once, the language model per size.

The loss of a size is the mean over the answers' tokens, and every size counts the same: ``(1/|S|) sum_s CE_s``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from anysize.backbones.vision.pictures import picture
from anysize.backbones.vision.prompts import IGNORED, Prompt, check_room
from anysize.core.losses.nested import nested_loss
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.training.processes import mean_over_processes
from anysize.core.training.trainer import TrainingPlan, quiet, train
from anysize.tokens.draws import Draw
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.holding import HoldsVLM
from anysize.tokens.vlm.model import NestedVLM

Parts = Literal["projector", "language", "all"]


class AnswerTraining(nn.Module):
    """The loss of a batch of questions at the sizes of the step; what `train` trains."""

    step: torch.Tensor
    _keys_to_ignore_on_save = None  # the trainer asks for it, where a checkpoint does not hold everything

    def __init__(self, model: NestedVLM, draw: Draw, seed: int = 0) -> None:
        super().__init__()
        self.model, self.draw, self.seed = model, draw, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.long))  # a checkpoint keeps it, so a resume goes on
        self.last: dict[Size, float] = {}
        """Each size's own loss at the last step."""
        self.register_state_dict_post_hook(_learning)

    def forward(self, pixels: torch.Tensor, prompts: Sequence[Prompt]) -> dict[str, torch.Tensor]:
        """``{"loss": ...}`` of pictures (n, 3, rows, columns) and their questions with answers."""
        sizes = self.draw.pick(self.model.nesting, int(self.step), self.seed)
        self.step += 1
        kept = self.model.keep(self.model.vlm.encode(pixels), sizes)
        drawn = Nesting(tokens=tuple(size.tokens for size in sizes))
        found = nested_loss(drawn, lambda size: answer_loss(self.model, prompts, kept[size]), reduction="mean")
        self.last = {size: float(term.detach()) for size, term in found.terms.items()}
        return {"loss": found.total}


def _learning(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Leave out of a checkpoint what does not learn, most of the model: it is read again from where it came."""
    for name, weight in module.named_parameters(remove_duplicate=False):
        if not weight.requires_grad:
            state.pop(prefix + name, None)


def answer_loss(model: NestedVLM, prompts: Sequence[Prompt], kept: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens of all processes, with (n, count, width) tokens of the pictures."""
    batch = model.vlm.batch(prompts, [[kept.shape[1]]] * len(prompts))
    longest = max(len(prompt.answer) for prompt in prompts)
    with model.adapting(kept.shape[1], batch):
        logits = model.vlm.logits(batch, list(kept), last=longest + 1)[:, :-1]  # the token before it foretells one
    wanted = batch.labels[:, -longest:]
    total = functional.cross_entropy(
        logits.flatten(0, 1).float(), wanted.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    loss = total / mean_over_processes((wanted != IGNORED).sum())
    if model.adapters is not None and model.training:
        loss = loss + sum(model.adapters.losses().values())
    return loss


def learn(
    model: NestedVLM,
    questions: Sequence[Asked],
    plan: TrainingPlan,
    workdir: Path,
    *,
    draw: Draw,
    parts: Parts = "all",
    lora: int = 0,
    resume: bool = False,
) -> list[dict[str, float]]:
    """
    Train these parts of a model in place, the language model through adapters of rank `lora` if that is not 0; they are
    added to its weights at the end. Returns the losses on the way. Raises `AnysizeError` if a question is too long.
    """
    prompts = [model.vlm.prompt(one.question, answer=one.answer) for one in questions]
    for prompt in prompts:  # before anything is learnt
        check_room(prompt, [model.nesting.full.tokens], model.vlm.longest)

    def collate(rows: Sequence[int]) -> dict[str, Any]:
        shown = [picture(questions[row].picture) for row in rows]
        return {"pixels": model.vlm.pixels(shown), "prompts": [prompts[row] for row in rows]}

    torch.manual_seed(plan.seed)  # adapters begin at random
    module = AnswerTraining(model, draw, plan.seed)
    with training_parts(model, parts, lora):
        learnt = train(module, range(len(questions)), plan, workdir, resume=resume, collate=collate)
    losses: list[dict[str, float]] = learnt["losses"]
    return losses


@contextlib.contextmanager
def training_parts(model: HoldsVLM, parts: Parts, lora: int) -> Iterator[None]:
    """Let only these parts learn; afterwards the model is as it was, but for what it learnt."""
    inside = model.net.model
    for weight in model.parameters():
        weight.requires_grad_(parts == "all")
    for weight in model.vlm.projector.parameters():
        weight.requires_grad_(True)
    adapted: Any = None
    if parts != "projector" and lora:
        from peft import LoraConfig, get_peft_model

        named = [name for name, part in inside.language_model.named_modules() if isinstance(part, nn.Linear)]
        with quiet():
            adapters = LoraConfig(r=lora, lora_alpha=2 * lora, target_modules=named, lora_dropout=0.0)
            adapted = get_peft_model(inside.language_model, adapters)
    elif model.adapters is not None and parts != "projector":
        for weight in inside.language_model.parameters():
            weight.requires_grad_(False)
        for weight in model.adapters.weights().values():
            weight.requires_grad_(True)
        model.net.lm_head.requires_grad_(False)
    elif parts != "projector":
        for weight in (*inside.language_model.parameters(), *model.net.lm_head.parameters()):
            weight.requires_grad_(True)
    model.train()
    try:
        yield
    finally:
        if adapted is not None:
            with quiet():
                adapted.merge_and_unload()
        for weight in model.parameters():
            weight.requires_grad_(True)
        model.eval()
