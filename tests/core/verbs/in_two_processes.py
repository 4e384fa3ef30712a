"""Done by two processes: each kind of fit undisturbed, then stopped in the middle and resumed; do the weights agree?"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from anysize.core.data.read import read
from anysize.core.training import trainer as training
from anysize.core.verbs.fit import fit
from anysize.text.embedder.method import MRL
from tests.core.verbs.test_fit import at_step, same, state


def stop() -> None:
    raise KeyboardInterrupt


def weights(model) -> dict[str, torch.Tensor]:
    return state(model if model.weight is not None else model.encoder.model)


def judge(view) -> float:
    """Anything that follows from the weights, and is asked of the first process alone."""
    assert os.environ["RANK"] == "0"
    return float(1e4 * view.weight[: view.size.dims].double().sum() % 1)


def main(folder: Path, encoder: str) -> None:
    heads = MRL(dims=(4, 8), epochs=4, batch_size=16, seed=3)  # 128 rows: 16 steps, a checkpoint a step
    tuned = MRL(model=encoder, tune="full", dims=(8, 32), batch_size=8, learning_rate=1e-3, bf16=True, epochs=2)
    bar = training.use_plain_bar
    for name, method, source in (("head", heads, folder / "v.npy"), ("full", tuned, folder / "p.jsonl")):
        data = read(source)
        watch = judge if name == "head" else None
        whole = fit(data, method=method, out=folder / f"{name}-whole", watch=watch)
        at_step(3, stop)
        try:
            fit(data, method=method, out=folder / name, watch=watch)
        except KeyboardInterrupt:
            training.use_plain_bar = bar
        checkpoints = {path.name for path in (folder / f"{name}.partial" / "checkpoints").iterdir()}
        resumed = fit(data, method=method, out=folder / name, watch=watch, resume=True)
        assert "checkpoint-2" in checkpoints, checkpoints
        assert same(weights(whole), weights(resumed)), f"{name}: resuming gave other weights"
        assert whole.about.get("watched") == resumed.about.get("watched")
        if name == "head" and os.environ["RANK"] == "0":
            assert len(whole.about["watched"]["looks"]) > 1
