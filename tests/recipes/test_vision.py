"""The recipes of image encoders, on a few digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes import franca, rasa


def test_franca_ends_in_frontiers_a_page_and_an_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    franca.main(["--out", str(tmp_path), "--count", "60", "--epochs", "1"])
    said = capsys.readouterr().out
    assert said.count("cheapest within") == 2
    assert "The nearest pictures at each size" in (tmp_path / "seer.html").read_text()
    assert (tmp_path / "cut" / "model.onnx").exists()


def test_rasa_ends_in_a_frontier_and_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rasa.main(["--out", str(tmp_path), "--count", "40", "--epochs", "1"])
    said = capsys.readouterr().out
    assert "before: position R2" in said
    assert "after: position R2" in said
    assert said.count("cheapest within") == 1
    assert "Clusters of patches" in (tmp_path / "flat.html").read_text()
