"""Pictures that cannot be read: a run and a measurement go on without them, and say so."""

from __future__ import annotations

import json

import numpy as np
import pytest

import anysize as az
from anysize.core.errors import DataError, UnreadableError
from anysize.core.verbs import run as run_module
from tests.kinds import models
from tests.tiny_vision import write_folder


@pytest.fixture
def made():
    return models(None, None)["image-encoder"][0]()


def damage(photos, *names):
    for name in names:
        file = next(photos.rglob(name))
        file.write_bytes(file.read_bytes()[:200])


def test_a_run_leaves_them_out_by_name_or_refuses_them(made, tmp_path, anysize):
    photos = write_folder(tmp_path / "photos", 6, labelled=False)
    made.save(tmp_path / "seer")
    damage(photos, "001.png", "004.png")
    told = anysize("run", tmp_path / "seer", photos, "--json")
    assert told.status == 0, told
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert [one["id"] for one in rows] == ["000.png", "002.png", "003.png", "005.png"]
    np.testing.assert_allclose(rows[2]["output"], made.encode([photos / "003.png"])[0], atol=1e-5)
    assert "note: 2 of 6 items are left out: " in told.err
    assert "004.png" in told.err
    written = anysize("run", tmp_path / "seer", photos, "--out", tmp_path / "found.npz", "--json")
    assert (written.json["count"], written.json["left_out"]) == (4, 2)
    held = np.load(tmp_path / "found.npz")
    assert list(held["ids"]) == ["000.png", "002.png", "003.png", "005.png"]
    np.testing.assert_allclose(held["vectors"][1], made.encode([photos / "002.png"])[0], atol=1e-5)
    for more in (("--strict",), ("--strict", "--out", tmp_path / "no.npz"), ("--out", tmp_path / "no.npy")):
        anysize("run", tmp_path / "seer", photos, *more).refused("001.png cannot be read", "004.png cannot be read")
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("no.")]
    with pytest.raises(UnreadableError, match=r"001\.png"):  # outputs in memory have no names
        az.run(made, photos)


def test_nothing_is_written_where_none_can_be_read(made, tmp_path, anysize):
    photos = write_folder(tmp_path / "photos", 2, labelled=False)
    made.save(tmp_path / "seer")
    damage(photos, "000.png", "001.png")
    anysize("run", tmp_path / "seer", photos).refused("000.png cannot be read")
    anysize("run", tmp_path / "seer", photos, "--out", tmp_path / "no.npz").refused("000.png cannot be read")
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("no.")]


@pytest.mark.parametrize("stopped", [1, 2, 3])
def test_a_stopped_run_goes_on_to_the_same_file(made, tmp_path, monkeypatch, stopped):
    photos = write_folder(tmp_path / "photos", 8, labelled=False)
    damage(photos, "001.png", "005.png")
    monkeypatch.setattr(run_module, "STEP", 2)
    az.run(made, photos, out=tmp_path / "whole.npz")
    parts, seal = [], run_module.write_sealed

    def until(file, content):
        if len(parts) == stopped:
            raise KeyboardInterrupt
        parts.append(file)
        seal(file, content)

    monkeypatch.setattr(run_module, "write_sealed", until)
    with pytest.raises(KeyboardInterrupt):
        az.run(made, photos, out=tmp_path / "parts.npz")
    monkeypatch.setattr(run_module, "write_sealed", seal)
    with pytest.raises(UnreadableError, match=r"001\.png"):  # strict now: what was begun without stays refused
        az.run(made, photos, out=tmp_path / "parts.npz", strict=True)
    ran = az.run(made, photos, out=tmp_path / "parts.npz")
    assert (ran.count, ran.before) == (6, 2 * stopped)
    assert (tmp_path / "parts.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


@pytest.mark.parametrize("by", ["knn", "linear", "clusters", "neighbours"])
def test_a_measurement_is_that_of_the_others(made, tmp_path, by):
    photos = write_folder(tmp_path / "photos", 45)
    good = write_folder(tmp_path / "good", 45)
    for name in ("003.png", "007.png", "008.png"):
        next(good.rglob(name)).unlink()
    damage(photos, "003.png", "007.png", "008.png")
    found, expected = az.measure(made, photos, by=by), az.measure(made, good, by=by)
    assert [one.metrics for one in found.records] == [one.metrics for one in expected.records]
    assert any(note.startswith("3 of 45 items are left out: ") for note in found.meta["notes"])
    with pytest.raises(DataError, match=r"003\.png"):
        az.measure(made, photos, by=by, strict=True)


def test_the_page_is_drawn_without_them(made, tmp_path, anysize):
    photos = write_folder(tmp_path / "photos", 30)
    made.save(tmp_path / "seer")
    damage(photos, "002.png")
    told = anysize("measure", tmp_path / "seer", photos, "--html", tmp_path / "seer.html")
    assert told.status == 0, told
    assert "note: 1 of 30 items are left out: " in told.err
    assert (tmp_path / "seer.html").exists()
    anysize("measure", tmp_path / "seer", photos, "--strict").refused("002.png cannot be read")


def test_a_table_of_pictures_loses_its_rows(made, tmp_path):
    photos = write_folder(tmp_path / "photos", 12, labelled=False)
    damage(photos, "004.png")
    rows = [{"file_name": f"{place:03}.png", "label": "ab"[place % 2]} for place in range(12)]
    (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = az.measure(made, photos, by="linear")
    assert any(note.startswith("1 of 12 items are left out: ") for note in found.meta["notes"])
