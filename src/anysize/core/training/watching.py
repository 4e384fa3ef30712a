"""
Training while watching: the model is scored on the way, and its best weights are kept, not merely the last.

A look changes nothing: dropout is off, and all random numbers afterwards are those of a run that nobody watched.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anysize.core.digests import check_seal, seal
from anysize.core.errors import AnysizeError, CheckpointError, refused_as_damaged
from anysize.core.files import new_directory, read_object, write_bytes, write_json

HISTORY, BEST = "watched.jsonl", "best"
"""In the working folder: a line for every look, and the weights of the best."""
_NOTE, _WEIGHTS = "best.json", "weights.safetensors"


@dataclass(frozen=True)
class Watch:
    """What is looked at, how often, and when to give up."""

    score: Callable[[], Mapping[str, float]]
    """Size -> how good the model is now. The first process alone is asked."""
    by: str = "a score"
    """What is scored, for the reader."""
    main: str | None = None
    """The one of `score` that decides. Default: the mean over all."""
    lower_is_better: bool = False
    every: int | None = None
    """Steps between two looks, and a last one at the end. Default: as often as a checkpoint is written."""
    patience: int | None = None
    """Stop after so many looks in a row without a new best."""


class Watcher:
    """Keeps what was seen, and the best weights, in `workdir`; a resumed run goes on from there."""

    def __init__(self, watch: Watch, module: Any, workdir: Path) -> None:
        self.watch, self.module, self.workdir = watch, module, workdir
        self.looks: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None

    def begin(self, step: int) -> None:
        """Take up what an earlier run saw up to `step`; what it saw later is seen again."""
        file, folder = self.workdir / HISTORY, self.workdir / BEST
        if step == 0:
            self.looks, self.best = [], None
            return
        if file.exists():
            with refused_as_damaged(f"{file} tells no looks at a training; delete it to watch from here on"):
                seen = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
                self.looks = [look for look in seen if look["step"] <= step]
        if folder.exists():
            # Its step may be one that is run again: the weights stand, and the same score does not replace them.
            self.best = read_object(self._checked() / _NOTE, "the best weights of an unfinished run")

    def look(self, step: int) -> bool:
        """Score the model as it is now; whether it is time to give up."""
        sizes = {name: float(value) for name, value in self.watch.score().items()}
        if not sizes:
            raise AnysizeError("what watches a training gave no score")
        main = self.watch.main
        value = sum(sizes.values()) / len(sizes) if main is None else sizes.pop(main)
        self.looks.append({"step": step, "value": value, "sizes": sizes})
        write_bytes(self.workdir / HISTORY, "".join(json.dumps(look) + "\n" for look in self.looks).encode())
        if self.best is None or self._better(self.looks[-1]["value"], self.best["value"]):
            self.best = self.looks[-1]
            self._keep()
        since = sum(look["step"] > self.best["step"] for look in self.looks)
        return self.watch.patience is not None and since >= self.watch.patience

    def restore(self) -> None:
        """Give the module its best weights back."""
        from safetensors.torch import load_file

        if (self.workdir / BEST).exists():
            found = self.module.load_state_dict(load_file(self._checked() / _WEIGHTS), strict=False)
            if found.unexpected_keys:
                raise CheckpointError(f"{self.workdir / BEST} holds weights of another model; delete {self.workdir}")

    def told(self) -> dict[str, Any]:
        """What a model says of how it was watched."""
        better = "lower" if self.watch.lower_is_better else "higher"
        best = self.best and {name: self.best[name] for name in ("step", "value")}
        return {"by": self.watch.by, "better": better, "best": best, "looks": self.looks}

    def _better(self, one: float, other: float) -> bool:
        # What is not a number is better than nothing and worse than anything.
        if one != one or other != other:
            return other != other and one == one
        return one < other if self.watch.lower_is_better else one > other

    def _keep(self) -> None:
        from safetensors.torch import save_file

        state = {name: value.detach().contiguous().clone() for name, value in self.module.state_dict().items()}
        with new_directory(self.workdir / BEST, marker=_NOTE) as folder:
            save_file(state, folder / _WEIGHTS)
            write_json(folder / _NOTE, self.best)
            seal(folder)

    def _checked(self) -> Path:
        folder = self.workdir / BEST
        try:
            check_seal(folder)
        except CheckpointError as error:
            raise CheckpointError(f"{error}, or delete {self.workdir} to train again") from None
        return folder


@contextlib.contextmanager
def unseen(module: Any) -> Iterator[None]:
    """The module as it is used, without gradients; afterwards its mode and all random numbers are as before."""
    import numpy as np
    import torch

    modes = {part: part.training for part in module.modules()}
    others = random.getstate(), np.random.get_state()
    module.eval()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            # The same draws at every look, so that looks can be compared.
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
            yield
    finally:
        random.setstate(others[0])
        np.random.set_state(others[1])
        for part, mode in modes.items():
            part.training = mode


def watching(watcher: Watcher, trainer: Any, every: int) -> Any:
    """The callback that looks every so many steps and at the end; the first process looks, the others wait for it."""
    from transformers import TrainerCallback

    from anysize.core.training.processes import first_says, place

    class Watching(TrainerCallback):
        """Looks after a step, before a checkpoint of that step is written."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if place()[0] == 0:
                watcher.begin(state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % every and state.global_step < state.max_steps:
                return
            stop = False
            if place()[0] == 0:
                with unseen(watcher.module):
                    stop = watcher.look(state.global_step)
                seen = watcher.looks[-1]
                named = {f"eval_{name}": value for name, value in seen["sizes"].items()}
                # Telling it would count as the logging of this step, at which all processes meet.
                due = control.should_log
                trainer.callback_handler.on_log(args, state, control, {"eval_watched": seen["value"], **named})
                control.should_log = due
            control.should_training_stop |= first_says(stop)

    return Watching()
