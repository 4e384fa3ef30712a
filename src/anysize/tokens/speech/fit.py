"""What the methods of speech do: encoders, a language model and adapters put together, and taught by transcripts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from anysize.backbones.huggingface import opening, pretrained
from anysize.backbones.speech.encoders import PIXELS, SoundEncoder, lips_of
from anysize.backbones.texts.cut_texts import say_once
from anysize.core.arguments import shown
from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError, DataError
from anysize.core.training.trainer import TrainingPlan
from anysize.evaluation.transcripts import transcripts_of
from anysize.tokens.draws import Draw
from anysize.tokens.speech.clips import Clip, clip_of
from anysize.tokens.speech.holding import Parts
from anysize.tokens.speech.methods import Rated
from anysize.tokens.speech.model import NestedSpeech
from anysize.tokens.speech.training import learn


def parts_of(method: Rated) -> Parts:
    """The models that a method joins. Raises `AnysizeError` if one was not named or cannot be opened."""
    axes = method.nesting().axes
    if method.lm is None:
        raise AnysizeError("name the language model that writes with --lm, a folder or a hub name")
    if "audio" in axes and method.encoder is None:
        raise AnysizeError("name what hears with --encoder, such as a Whisper or wav2vec 2.0 folder or hub name")
    return parts_named(axes, lm=method.lm, encoder=method.encoder, lips=method.lips)


def parts_named(axes: Sequence[str], *, lm: str, encoder: str | None = None, lips: str = PIXELS) -> Parts:
    """The models that axes need, opened by folder or hub name. Raises `AnysizeError` if one cannot be opened."""
    seen = lips_of(lips) if "video" in axes else None
    writes, tokenizer = written_by(lm)
    return Parts(writes, tokenizer, SoundEncoder.open(str(encoder)) if "audio" in axes else None, seen)


def written_by(name: str | os.PathLike[str]) -> tuple[Any, Any]:
    """A causal language model and its tokenizer, in float32. Raises `AnysizeError` if it cannot be opened."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with opening("language model", name):
        return pretrained(AutoModelForCausalLM, name, dtype=torch.float32).eval(), pretrained(AutoTokenizer, name)


def untrained(method: Rated) -> NestedSpeech:
    """The model that a method starts from; what learns in it is drawn by the method's seed."""
    parts = parts_of(method)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(method.seed)
        return NestedSpeech(method.nesting(), parts, method.spec(int(parts.lm.config.hidden_size)))


def taught(method: Rated, clips: Sequence[Clip], workdir: Path, resume: bool) -> NestedSpeech:
    """A model that has learnt from clips with transcripts. Raises `DataError` if there are fewer than two."""
    if len(clips) < 2:
        raise DataError(f"{len(clips)} clips are too few to learn from; give at least 2")
    model = untrained(method)
    _say_unknown(model.tokenizer, [str(clip.text) for clip in clips])
    plan = TrainingPlan.of(method, len(clips))
    weights = dict(zip(method.trained(), method.task_weights or (1.0,) * len(method.trained()), strict=True))
    losses = learn(
        model, clips, plan, workdir, draw=Draw(method.draw), weights=weights, everything=method.train == "all",
        resume=resume,
    )  # fmt: skip
    model.about = {"learnt_from": "clips", "rows": len(clips), "losses": losses}
    return model.eval()


def _say_unknown(tokenizer: Any, texts: Sequence[str]) -> None:
    """Tell how many transcripts hold what the language model cannot write, as those in another script may."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    ids = [] if unknown is None else tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    lost = [text for text, one in zip(texts, ids, strict=False) if unknown in one]
    if lost:
        say_once(
            f"{len(lost)} of {len(texts)} transcripts hold words that the language model has no token for, such as "
            f"{shown(lost[0])}"
        )


def fit(method: Rated, data: Data, workdir: Path, resume: bool) -> NestedSpeech:
    """Learn from the clips of `data` that are not held out."""
    method.nesting()
    learnt = transcripts_of(data, "learn")
    said = [
        clip_of(row)._replace(text=text) for row, text in zip(learnt.rows, learnt.texts, strict=True) if text.strip()
    ]
    return taught(method, said, workdir, resume)
