"""Running text as windows of tokens, to learn from and to measure language models by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anysize.core.data.held_out import held_out as kept_back
from anysize.core.errors import DataError
from anysize.core.frontier.record import Record
from anysize.core.losses.tokens import next_token_loss
from anysize.core.progress import each_view
from anysize.core.verbs.evaluator import Evaluator

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.model.faces import Predicts


def texts_of(data: Data, *, held_out: bool) -> list[str]:
    """
    The texts of `data` that are held out, or those that are not: a tenth of the distinct ones, chosen by a hash.

    Raises `DataError` if it holds no texts, or too few to hold one out.
    """
    texts = [text for text in dict.fromkeys(data.texts) if text.strip()]
    kept = kept_back(texts, data.name, "text")
    return [text for text in texts if (text in kept) == held_out]


def windows(texts: Sequence[str], tokenizer: Any, length: int, name: str) -> torch.Tensor:
    """
    Windows (n, length + 1) of tokens that do not overlap: texts one after the other, each with its end token.

    Shorter texts than one window give one window of all they have. Raises `DataError`, calling the data `name`, if
    that is less than two tokens.
    """
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids: list[int] = []
    for text in texts:
        ids += [*tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], *end]
    if len(ids) < 2:
        raise DataError(f"{name} holds {len(ids)} tokens; a language model needs at least 2, one to follow another")
    width = min(length + 1, len(ids))
    return torch.tensor(ids[: len(ids) // width * width]).view(-1, width)


class NextTokenEvaluator(Evaluator):
    """``log_likelihood``: the negative of the cross-entropy of every next token, in nats; and ``accuracy``."""

    metric = "log_likelihood"
    metrics = ("log_likelihood", "accuracy")

    def accepts(self, data: Data) -> bool:
        """Whether there are texts."""
        return data.items().texts is not None

    def describe(self, data: Data, *, held_out: bool) -> dict[str, Any]:
        """What is measured, for the frontier's caption."""
        count = len(self._texts(data, held_out))
        kept = " held out from training" if held_out else ""
        return {"task": f"next token: {count} texts{kept}, log-likelihood in nats per token", "units": "windows"}

    def evaluate(self, views: Mapping[str, Sequence[Predicts]], data: Data, *, held_out: bool = False) -> list[Record]:
        """One record per view."""
        texts = self._texts(data, held_out)
        records = []
        for arm, model in each_view(views):
            units, cost = _scores(model, windows(texts, model.tokenizer, model.max_length, data.name)), model.cost()
            metrics = {name: float(values.mean()) for name, values in units.items()}
            records.append(
                Record(model.size, arm, metrics, cost.bytes, parameters=cost.parameters, flops=cost.flops, units=units)
            )
        return records

    def _texts(self, data: Data, held_out: bool) -> list[str]:
        return texts_of(data, held_out=True) if held_out else [text for text in data.texts if text.strip()]


@torch.no_grad()
def _scores(model: Predicts, part: torch.Tensor) -> dict[str, np.ndarray]:
    """Of each window, all of one length, the means over its tokens."""
    likely, right = [], []
    for rows in part.split(16):
        logits = model(rows[:, :-1])
        losses = next_token_loss(logits, rows, reduction="none").view(len(rows), -1)
        likely.append(-losses.double().mean(1).cpu())
        right.append((logits.argmax(-1).cpu() == rows[:, 1:]).double().mean(1))
    return {"log_likelihood": torch.cat(likely).numpy(), "accuracy": torch.cat(right).numpy()}
