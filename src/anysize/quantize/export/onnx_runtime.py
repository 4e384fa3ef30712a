"""A graph run by ONNX Runtime beside the model that it was made from, on other shapes than it was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.engine_checks import TEXTS, Check, apart


def batches(model: Any, names: list[str], *, sentences: bool) -> list[dict[str, torch.Tensor]]:
    """
    Inputs of a sentence encoder or a language model: one row and many, short and long, padded right and left.

    What an exporter fixed by mistake (a length, a number of rows, where padding stands) differs in one of them.
    """
    if sentences:
        groups = [[text] for text in TEXTS[:3]] + [list(TEXTS[3:6]), list(TEXTS)]
        given = [model.preprocess(texts) for texts in groups]
        found = [{name: inputs[name] for name in names} for inputs in given]
    else:
        found = [made_up_ids(model, rows, tokens) for rows, tokens in ((1, 1), (1, 16), (2, 5), (7, 3), (3, 8))]
        found[-1]["attention_mask"][1, 5:] = 0
    return [*found, {name: value.flip(1) for name, value in found[-1].items()}]


def checked(
    runtime: Any, file: Path, asked: list[dict[str, torch.Tensor]], expected: list[np.ndarray], how: str, bound: float
) -> Check:
    """Run every batch. Raises `AnysizeError` if a vector, or the logits of a token, is further off than `bound`."""
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    largest = 0.0
    for given, mine in zip(asked, expected, strict=True):
        (found,) = session.run(None, {name: value.numpy() for name, value in given.items()})
        if mine.ndim == 3 and found.shape == mine.shape:  # logits; what stands on padding, nobody reads
            read = given["attention_mask"].numpy().astype(bool)
            found, mine = found[read], mine[read]
        largest = max(largest, apart(found, mine))
    what = "vectors" if expected[0].ndim == 2 else "logits"
    return Check("ONNX Runtime", str(runtime.__version__), f"{what} of {len(asked)} batches, {how}", largest, bound)


def made_up_ids(model: Any, rows: int, tokens: int) -> dict[str, torch.Tensor]:
    """Ids and mask (rows, tokens) each."""
    ids = torch.arange(rows * tokens).view(rows, tokens) % model.config.vocab_size
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
