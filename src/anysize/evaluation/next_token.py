"""Measuring language models by the tokens that they expect next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anysize.backbones.texts.token_windows import texts_of, windows
from anysize.core.errors import AnysizeError
from anysize.core.model.faces import Predicts
from anysize.core.verbs.evaluator import Evaluator, Scores, Task

if TYPE_CHECKING:
    import numpy as np
    import torch

    from anysize.core.data.data import Data


@dataclass(frozen=True)
class NextTokenEvaluator(Evaluator):
    """``log_likelihood``: the negative of the cross-entropy of every next token, in nats; and ``accuracy``."""

    face = Predicts
    needs = "texts"
    max_length: int | None = None
    """Tokens of a window. Default: as many as the model was fitted for."""

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise AnysizeError(f"max-length must be above zero; got {self.max_length}")

    def accepts(self, data: Data) -> bool:
        """Whether there are texts."""
        return data.items().texts is not None

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """All texts that hold something, or the tenth of the distinct ones that training left out."""
        texts = texts_of(data, held_out=True) if held_out else [text for text in data.texts if text.strip()]
        kept = " held out from training" if held_out else ""
        said = f"next token: {len(texts)} texts{kept}, log-likelihood in nats per token"
        facts = {} if self.max_length is None else {"max_length": self.max_length}
        return Task(said, "log_likelihood", "windows", (texts, data.name), facts)

    def score(self, view: Predicts, task: Task) -> Scores:
        """Of each window, all of one length, the means over its tokens."""
        texts, name = task.on
        return Scores(_scores(view, windows(texts, view.tokenizer, self.max_length or view.max_length, name)))


def _scores(model: Predicts, part: torch.Tensor) -> dict[str, np.ndarray]:
    import torch

    from anysize.core.losses.tokens import next_token_loss

    likely, right = [], []
    with torch.no_grad():
        for rows in part.split(16):
            logits = model(rows[:, :-1])
            losses = next_token_loss(logits, rows, reduction="none").view(len(rows), -1)
            likely.append(-losses.double().mean(1).cpu())
            right.append((logits.argmax(-1).cpu() == rows[:, 1:]).double().mean(1))
    return {"log_likelihood": torch.cat(likely).numpy(), "accuracy": torch.cat(right).numpy()}
