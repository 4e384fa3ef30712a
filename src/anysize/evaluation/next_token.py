"""Running text as windows of tokens, to learn from and to measure language models by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anysize.core.data.held_out import held_out as kept_back
from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.faces import Predicts
from anysize.core.verbs.evaluator import Evaluator, Scores, Task

if TYPE_CHECKING:
    import numpy as np
    import torch

    from anysize.core.data.data import Data


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
    import torch

    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids: list[int] = []
    for text in texts:
        ids += [*tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], *end]
    if len(ids) < 2:
        raise DataError(f"{name} holds {len(ids)} tokens; a language model needs at least 2, one to follow another")
    width = min(length + 1, len(ids))
    return torch.tensor(ids[: len(ids) // width * width]).view(-1, width)


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
