"""Training while watching, family by family: what is kept is what was best, wherever it stood on the way."""

from __future__ import annotations

import json

import numpy as np
import pytest

import anysize as az
from anysize.core.errors import AnysizeError, CheckpointError
from tests.conftest import sentences, write_pairs

FULL = {"tune": "full", "epochs": 3, "batch_size": 8, "learning_rate": 1e-2}
LAYERED = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-2}


@pytest.mark.parametrize(
    ("method", "options"), [("mrl", {}), ("mrl", FULL), ("2dmse", LAYERED)], ids=["head", "full", "2dmse"]
)
def test_a_function_of_a_view_decides_which_weights_are_kept(method, options, encoder_path, tmp_path):
    texts, looks = sentences(5, seed=9), []

    def judge(view):
        if view.size == view.nesting[0]:
            looks.append(view.at(view.nesting.full).encode(texts))
        return float(len(looks) == 2)  # the second look is the best

    data = str(write_pairs(tmp_path / "pairs.jsonl"))
    made = az.fit(
        data, method=method, model=str(encoder_path), dims=(8, 32), watch=judge, out=tmp_path / "m", **options
    )
    np.testing.assert_allclose(made.encode(texts), looks[1], atol=1e-6)
    assert np.abs(looks[1] - looks[-1]).max() > 1e-4
    lines = [json.loads(line) for line in (tmp_path / "m.watched.jsonl").read_text().splitlines()]
    assert lines == made.about["watched"]["looks"]
    assert [line["value"] for line in lines] == [float(place == 1) for place in range(len(lines))]
    assert set(lines[0]["sizes"]) == {str(size) for size in made.nesting}


@pytest.mark.parametrize(
    ("method", "options", "sizes"),
    [
        ("mrl", {"dims": (8, 32)}, {"dims=8", "dims=32"}),
        ("mrl", {"dims": (8, 32), **FULL}, {"dims=8", "dims=32"}),
        ("starbucks", {"sizes": ("1:8", "2:32"), **LAYERED}, {"layers=1,dims=8", "layers=2,dims=32"}),
        ("matquant", {"bits": (8, 4), "untrained": (), **LAYERED}, {"bits=8", "bits=4"}),
        ("tasks", {"dims": (8, 32), **LAYERED}, {"dims=8", "dims=32"}),
        ("mlm", LAYERED, {"layers=2,dims=32"}),
    ],
    ids=["head", "full", "starbucks", "matquant", "tasks", "mlm"],
)
def test_a_share_of_the_rows_is_left_out_and_its_loss_looked_at(method, options, sizes, encoder_path, tmp_path):
    data = str(write_pairs(tmp_path / "pairs.jsonl"))
    if method == "mlm":
        data = str(tmp_path / "texts.txt")
        (tmp_path / "texts.txt").write_text("\n".join(sentences(60)), encoding="utf-8")
    if method == "tasks":  # adapters alone, over the encoder as it is
        data, options = "none", {**options, "task": [f"retrieval={data}"]}
    made = az.fit(data, method=method, model=str(encoder_path), watch=0.3, **options)
    told = made.about["watched"]
    values = [look["value"] for look in told["looks"]]
    assert told["best"]["value"] == min(values)
    assert told["better"] == "lower"
    assert set(told["looks"][0]["sizes"]) == sizes
    assert made.about["options"]["watch"] == 0.3


def test_data_to_measure_on_decides(encoder_path, tmp_path):
    data = str(write_pairs(tmp_path / "pairs.jsonl"))
    made = az.fit(
        data, model=str(encoder_path), dims=(8, 32), epochs=2, watch=write_pairs(tmp_path / "dev.jsonl", 12, seed=5)
    )
    looks = made.about["watched"]["looks"]
    assert made.about["watched"]["best"]["value"] == max(look["value"] for look in looks)
    frontier = az.measure(made, tmp_path / "dev.jsonl", arms=())
    best = next(look for look in looks if look["step"] == made.about["watched"]["best"]["step"])
    measured = {str(one.size): one.metrics[frontier.metric] for one in frontier.arm("nested")}
    assert best["sizes"] == pytest.approx(measured)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"watch": 1.5}, "share of the rows, above 0 and below 1; got 1.5"),
        ({"watch": ["a"]}, "expected a share of the rows"),
        ({"watch": 0.1, "patience": 0}, "at least 1; got 0"),
        ({"method": "matquant", "watch": print}, "matquant cannot show its model on the way"),
        ({"method": "matquant", "base": "minmax", "watch": 0.1}, "leave out watch"),
        ({"report_to": ("tensorbored",)}, "report-to is 'tensorbored'"),
    ],
)
def test_what_cannot_be_watched_is_refused(options, words, encoder_path, tmp_path):
    with pytest.raises(AnysizeError, match=words):
        az.fit(str(write_pairs(tmp_path / "pairs.jsonl")), model=str(encoder_path), **options)


def test_tensorboard_reads_the_losses_of_training(encoder_path, tmp_path, monkeypatch):
    """Read back by TensorBoard's own reader: every loss that the model tells, and no other."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    data = str(write_pairs(tmp_path / "pairs.jsonl"))
    made = az.fit(data, model=str(encoder_path), dims=(8, 32), **FULL, report_to=("tensorboard",), out=tmp_path / "m")
    (folder,) = {file.parent for file in tmp_path.rglob("events.out.tfevents*")}
    seen = events.EventAccumulator(str(folder))
    seen.Reload()
    (tag,) = (name for name in seen.Tags()["scalars"] if name.endswith("/loss"))
    told = [one["loss"] for one in made.about["losses"]]
    assert [one.value for one in seen.Scalars(tag)] == pytest.approx(told, rel=1e-5)


def test_a_file_of_someone_else_is_not_replaced_by_what_was_seen(tmp_path):
    np.save(tmp_path / "v.npy", np.eye(16, 8, dtype=np.float32))
    (tmp_path / "m.watched.jsonl").write_text("mine")
    with pytest.raises(CheckpointError, match="holds something else"):
        az.fit(tmp_path / "v.npy", out=tmp_path / "m", epochs=1, watch=0.3)
    assert [path.name for path in tmp_path.iterdir()] in (["m.watched.jsonl", "v.npy"], ["v.npy", "m.watched.jsonl"])
