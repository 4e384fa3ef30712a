"""
A quantised model at one size, written for other engines: floats, ONNX, GGUF or compressed-tensors.

Every file is read back with the engine itself or its own reader before it takes its place, and must give what we give.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from anysize.core.engine_checks import Check, Exported, NotChecked
from anysize.core.errors import AnysizeError
from anysize.core.files import new_directory
from anysize.core.model.exporting import EXPORT, write_note
from anysize.quantize.layers.choosing import stacks

if TYPE_CHECKING:
    from anysize.quantize.model.model import Quantized


@dataclass(frozen=True)
class Written:
    """What a writer of a format has to say of a folder: for ``anysize-export.json``, and for the user."""

    said: dict[str, Any]
    checks: tuple[Check | NotChecked, ...] = ()
    notes: tuple[str, ...] = field(default=())


def export(
    view: Quantized, path: str | os.PathLike[str], form: str, write: Callable[..., Written], **options: Any
) -> Exported:
    """
    Write `view` at its size to the folder `path` by `write`; returns whose format it is and what checked it.

    `options` are those of `write`. Raises `AnysizeError` for a format that cannot hold these codes (it says which
    option or format would), one whose library is not installed, or a file that does not give what we give; then
    nothing is written.
    """
    with new_directory(path, marker=EXPORT) as directory:
        widths = view.size.to_json() if view.mixture is None else {**view.size.to_json(), "bits": dict(view.mixture)}
        written = write(view, directory, **options)
        exported = Exported(str(written.said.get("model", form)), written.checks, written.notes)
        said = {
            "size": widths,
            "slice_mode": view.plan.scheme.mode,
            "fingerprint": view.fingerprint,
            **written.said,
        }
        write_note(directory, form, said, exported)
    return exported


def embeds(view: Quantized) -> bool:
    """Whether it becomes a sentence-transformers model; else it is a language model of transformers."""
    if view.inner.gives not in ("vectors", "next tokens"):
        raise AnysizeError(f"a model of kind {view.kind!r} has no format of another library")
    return view.inner.gives == "vectors"


def write_floats(view: Quantized, directory: Path) -> tuple[Any, dict[str, Any]]:
    """The ordinary model with float weights in `directory`; returns it, and what it is."""
    from anysize.core.quiet import quiet

    sentences, model = embeds(view), view.convert()
    with quiet():
        if sentences:
            model.save(str(directory), create_model_card=False)
            return model, {"model": "sentence-transformers"}
        model.save_pretrained(str(directory))
        if model.tokenizer is not None:
            model.tokenizer.save_pretrained(str(directory))
        return model, {"model": "transformers"}


def ids_of(model: Any, text: str) -> list[int]:
    """The token ids of a text, whole, special ones included, as an extracted model's own tokenizer gives them."""
    from anysize.core.quiet import quiet

    with quiet():  # it warns of texts that are longer than the model reads
        found: list[int] = model.tokenizer(text, truncation=False, padding=False)["input_ids"]
    return found


def results_of(model: Any, rows: list[list[int]], *, sentences: bool) -> np.ndarray:
    """
    What an extracted model makes of token ids, one row at a time, so that nothing is padded.

    Of a sentence encoder unit vectors (rows, dims), of a language model the log-probabilities of the next token (rows,
    vocabulary).
    """
    found = []
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row])
            if sentences:
                inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                given = model({**inputs, "token_type_ids": torch.zeros_like(ids)})["sentence_embedding"][0].double()
                found.append((given / given.norm().clamp(min=1e-30)).numpy())
            else:
                found.append(torch.log_softmax(model(ids).logits[0, -1].double(), -1).numpy())
    return np.stack(found)


def prompt_notes(model: Any, why: str) -> tuple[str, ...]:
    """What to tell users of a format without prompts of an extracted model that has them."""
    prompts = getattr(model, "prompts", None) or {}
    listed = ", ".join(f"{text!r} for {name}" for name, text in prompts.items() if text)
    return (f"{why}, so put prompts before texts yourself: {listed}",) if listed else ()


def bits_of(view: Quantized, name: str) -> int:
    """The width at which a layer runs in a view."""
    return int(view.size["bits"]) if view.mixture is None else view.mixture[name]


def homes(view: Quantized, model: nn.Module) -> dict[str, str]:
    """Layer of `view` -> module of an extracted model that stands for it; layers below a cut in depth have none."""
    found: dict[str, str] = {}
    (ours,), (theirs,) = list(stacks(view.inner)), list(stacks(model))
    there = [name for name, _ in model.named_modules()]
    for name in view.layers():
        if name.startswith(f"{ours}."):
            home = theirs + name.removeprefix(ours)
            if home in there:
                found[name] = home
            continue
        pieces = name.split(".")
        for start in range(len(pieces)):  # the longest ending that is there decides
            ending = ".".join(pieces[start:])
            same = [other for other in there if other == ending or other.endswith(f".{ending}")]
            if same:
                found[name] = same[0]
                break
    return found


def require_same(found: torch.Tensor, expected: torch.Tensor, atol: float, what: str) -> float:
    """How far two tensors are apart, relative to the largest value. Raises `AnysizeError` if above `atol`."""
    apart = float((found.float() - expected.float()).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not apart <= atol:
        raise AnysizeError(f"{what} differs by up to {apart:.2g} of the largest value, so nothing was written")
    return apart
