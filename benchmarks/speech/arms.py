"""What each arm learns and is measured by: the same utterances in the same order, the same base, the same steps."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from anysize.core.sizes.nesting import Nesting
from anysize.evaluation.transcripts import word_error_rate
from anysize.tokens.speech.fit import taught
from anysize.tokens.speech.methods import Rated
from anysize.tokens.speech.model import NestedSpeech
from anysize.tokens.speech.scaled.scales import Scale, nested
from benchmarks.speech.base import base
from benchmarks.speech.digits import Utterance, utterances

AUDIO, VIDEO = (4, 16), (2, 5)
LEARN, TEST, BATCH = 600, 150, 16
EPOCHS = 5.0


@cache
def learnt_from(folder: Path, seed: int) -> Sequence[Utterance]:
    """What arms of a seed learn from."""
    return utterances(folder, LEARN, test=False, seed=seed)


@cache
def measured_by(folder: Path, seed: int) -> Sequence[Utterance]:
    """What arms of a seed are measured by."""
    return utterances(folder, TEST, test=True, seed=seed)


def bases(folder: Path, cache_: Path) -> dict[str, Any]:
    """One base for all seeds, from utterances that no arm learns from."""
    made = base(cache_ / "base", utterances(folder, LEARN, test=False, seed=99), 0)
    return {"encoder": str(made / "sound"), "lm": str(made / "lm")}


def learnt(
    method: Rated, folder: Path, cache_: Path, name: str, seed: int, *, epochs: float = EPOCHS, rate: float = 2e-3
) -> NestedSpeech:
    """A model that learnt as `method` says, in so many passes, at this rate at most."""
    clips = [one.clip for one in learnt_from(folder, seed)]
    whole = replace(method, **bases(folder, cache_), epochs=epochs, batch_size=BATCH, learning_rate=rate, seed=seed)
    workdir = cache_ / f"{name}-{seed}"
    model = taught(whole, clips, workdir, (workdir / "checkpoints").exists())
    shutil.rmtree(workdir, ignore_errors=True)
    return model


def error_rates(model: NestedSpeech, folder: Path, seed: int, sizes: Nesting | None = None) -> dict[str, float]:
    """Pair of rates -> the word error rate on what no arm learnt from."""
    said = measured_by(folder, seed)
    read = model.read([one.clip for one in said], batch_size=50)
    offered = model if sizes is None else model.again(sizes)
    found = {}
    for size in offered.nesting:
        wrote = offered.at(size).answers(read, max_new_tokens=6, batch_size=50)
        found[Scale.of(size, "avsr").name] = 100 * word_error_rate([str(one.clip.text) for one in said], wrote)
    return found


def every() -> Nesting:
    """All pairs of rates."""
    return nested(audio=AUDIO, video=VIDEO)


def names() -> list[str]:
    """Their names, the richest first."""
    return [Scale.of(size, "avsr").name for size in reversed(every())]


def alone(method: Rated, name: str) -> Any:
    """The twin of a method at one pair of rates, by its name."""
    return method.single(next(size for size in every() if Scale.of(size, "avsr").name == name))
