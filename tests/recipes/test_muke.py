"""The recipe of muKE, with a model that learns for a moment only."""

import json
from pathlib import Path

import pytest

from anysize.editing import Delta
from recipes import muke


def test_the_recipe_ends_in_a_page_a_frontier_and_the_edits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    monkeypatch.setitem(muke.OPTIONS, "v_steps", 2)
    muke.main(["--out", str(tmp_path), "--steps", "3"])
    said = capsys.readouterr().out
    assert "cheapest within 5 %" in said
    page = (tmp_path / "edits.html").read_text()
    assert page.index("What the rest of the model pays") < page.index("What each arm says")
    rows = [json.loads(line) for line in (tmp_path / "edits.jsonl").read_text().splitlines()]
    delta = Delta.load(tmp_path / "delta" / "edits.safetensors")
    assert [one.target_new for one in delta.requests] == [row["target_new"] for row in rows]
