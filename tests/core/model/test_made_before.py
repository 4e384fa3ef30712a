"""What was saved when a size value could only be a whole number is read, run, searched and chosen from as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.search import Index

MADE = Path(__file__).parents[2] / "data" / "made-before-shares"
EXPECTED = json.loads((MADE / "expected.json").read_text("utf-8"))
with np.load(MADE / "outputs.npz") as _archive:
    HELD = dict(_archive)
READS: dict[str, Any] = {
    "embedder": HELD["rows"],
    "encoder": EXPECTED["texts"],
    "encoder-menu": EXPECTED["texts"],
    "task-encoder": EXPECTED["texts"],
    "classifier": HELD["rows"],
    "sae": torch.from_numpy(HELD["rows"]),
    "sae-by-active": torch.from_numpy(HELD["rows"]),
    "quantized-encoder": EXPECTED["texts"],
    "causal-lm": torch.from_numpy(HELD["ids"]),
    "quantized-lm": torch.from_numpy(HELD["ids"]),
}


def load(name: str, *size: str) -> Any:
    model: Any = az.load(MADE / name, *size)
    return model.for_task("text-matching") if model.kind == "task-encoder" else model


def run(model: Any, example: Any) -> np.ndarray:
    with torch.no_grad():
        output = model(example)
    return (output.to_dense() if output.layout != torch.strided else output).float().numpy()


@pytest.mark.parametrize("name", READS)
def test_a_model_gives_what_it_gave_at_each_size_whole_or_read_in_part(name: str) -> None:
    model = load(name)
    held = [key.split("|")[1] for key in HELD if key.startswith(f"{name}|")]
    assert [str(size) for size in model.nesting] == held
    for size in held:
        was = HELD[f"{name}|{size}"]
        np.testing.assert_allclose(run(model.at(size), READS[name]), was, atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(run(load(name, size), READS[name]), was, atol=1e-5, rtol=1e-4)


def test_names_and_weights_of_sizes_are_read() -> None:
    menu = az.load(MADE / "encoder-menu")
    assert menu.nesting == Nesting.pairs(
        [Size(layers=1, dims=4), Size(layers=2, dims=16)], weights=[0.5, 1.0], names=["demi", "tall"]
    )
    assert az.load(MADE / "encoder-menu", "demi").size == Size(layers=1, dims=4)
    assert az.load(MADE / "embedder").nesting == Nesting(dims=(2, 5, 12), weights=(1, 0, 2))


def test_an_index_finds_what_it_found(tmp_path: Path) -> None:
    index = Index.open(shutil.copytree(MADE / "index", tmp_path / "index"))
    index.verify()
    assert index.nesting == Nesting(dims=(4, 8, 16))
    answers = index.search_many(HELD["docs"][:3] + np.float32(0.1), k=5)
    for answer, was in zip(answers, EXPECTED["hits"], strict=True):
        assert [hit.id for hit in answer.hits] == [id for id, _ in was]
        np.testing.assert_allclose([hit.score for hit in answer.hits], [score for _, score in was], rtol=1e-5)


def test_a_frontier_says_what_it_said() -> None:
    frontier = az.Frontier.from_json(MADE / "frontier.json")
    records = [[one.arm, str(one.size), one.metrics[frontier.metric], one.bytes] for one in frontier.records]
    assert records == EXPECTED["records"]
    assert [str(record.size) for record in frontier.pareto()] == EXPECTED["pareto"]
    assert str(frontier.cheapest(within=0.05).size) == EXPECTED["cheapest"]
