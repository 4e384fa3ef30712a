"""
A causal language model of transformers as the reranker, tuned with LoRA (PEFT) to name the right candidate.

RuCCoD's second stage: rank 16, alpha 16, dropout 0.1 on the query and value projections, learning rate 5e-5, 10 %
warm-up, at most 5 new tokens. Trained on questions whose answer is a number; the loss counts the answer alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from anysize.backbones.huggingface import opening, pretrained
from anysize.coding.reranking.choosing import Row
from anysize.core.errors import AnysizeError, DataError
from anysize.core.progress import bar

TARGETS = (("q_proj", "v_proj"), ("q", "v"), ("qkv_proj",))
"""Projections that are adapted: the first of these that a model has."""
_IGNORED = -100


class LocalModel:
    """Goes on from a prompt, with the most probable tokens."""

    def __init__(self, model: Any, tokenizer: Any, length: int = 768) -> None:
        self.model, self.tokenizer, self.length = model.eval(), tokenizer, length

    @classmethod
    def open(cls, name: str) -> LocalModel:
        """A folder or a hub name."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with opening("language model", name):
            return cls(pretrained(AutoModelForCausalLM, name), pretrained(AutoTokenizer, name))

    @torch.no_grad()
    def __call__(self, prompt: str) -> str:
        """At most 5 tokens; of a prompt that is too long the end is read."""
        ids = torch.tensor([self.tokenizer(prompt)["input_ids"][-self.length :]], device=self.model.device)
        ends = self.tokenizer.eos_token_id
        made = self.model.generate(ids, max_new_tokens=5, do_sample=False, pad_token_id=0 if ends is None else ends)
        return str(self.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))

    def tune(
        self,
        rows: Sequence[Row],
        *,
        epochs: int = 3,
        learning_rate: float = 5e-5,
        batch: int = 16,
        rank: int = 16,
        targets: Sequence[str] | None = None,
        seed: int = 0,
    ) -> list[float]:
        """
        Train adapters on rows, in place; gives the mean loss of each epoch.

        Raises `DataError` without rows, `AnysizeError` for a model that has none of `TARGETS`.
        """
        from peft import LoraConfig, get_peft_model

        if not rows:
            raise DataError("there is no row to tune the language model on; give questions with their answers")
        names = {name.rpartition(".")[2] for name, _ in self.model.named_modules()}
        chosen = targets or next((one for one in TARGETS if set(one) <= names), None)
        if chosen is None:
            raise AnysizeError("this model has no projections q_proj and v_proj, q and v, or qkv_proj; name targets")
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=16, lora_dropout=0.1, bias="none", target_modules=list(chosen))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by a name that is on its way out
            self.model = get_peft_model(self.model, config).train()
        optimizer = torch.optim.AdamW([one for one in self.model.parameters() if one.requires_grad], lr=learning_rate)
        total = epochs * -(-len(rows) // batch)
        warm = max(1, total // 10)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warm, max(0.0, (total - step) / max(1, total - warm)))
        )
        generator, means = torch.Generator().manual_seed(seed), []
        with bar(total, "tuning the language model", " steps", leave=False) as shown:
            for _ in range(epochs):
                losses = []
                for part in torch.randperm(len(rows), generator=generator).split(batch):
                    loss = self._loss([rows[row] for row in part.tolist()])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    losses.append(float(loss.detach()))
                    shown.update(1)
                means.append(sum(losses) / len(losses))
        self.model.eval()
        return means

    def _loss(self, rows: Sequence[Row]) -> torch.Tensor:
        """The mean over the tokens of the answers, each followed by the end of the text where there is such a token."""
        ends = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        read = []
        for row in rows:
            answer = self.tokenizer(row.answer, add_special_tokens=False)["input_ids"] + ends
            read.append((self.tokenizer(row.question)["input_ids"][-(self.length - len(answer)) :], answer))
        wide = max(len(question) + len(answer) for question, answer in read)
        ids = torch.zeros((len(read), wide), dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, _IGNORED)
        for place, (question, answer) in enumerate(read):
            end = len(question) + len(answer)
            ids[place, :end], mask[place, :end] = torch.tensor(question + answer), 1
            labels[place, len(question) : end] = torch.tensor(answer)
        device = self.model.device
        found: torch.Tensor = self.model(
            input_ids=ids.to(device), attention_mask=mask.to(device), labels=labels.to(device)
        ).loss
        return found
