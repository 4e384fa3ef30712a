"""The recipes of speech, on fewer clips."""

from pathlib import Path

import pytest

import anysize as az
from recipes import mome, mtsk


@pytest.mark.parametrize("recipe", [mtsk, mome], ids=["mtsk", "mome"])
def test_the_recipe_ends_in_a_frontier_a_page_and_a_small_model(recipe, tmp_path: Path, capsys):
    recipe.main(["--out", str(tmp_path), "--clips", "20", "--epochs", "1"])
    said = capsys.readouterr().out
    assert "wer" in said
    assert said.splitlines()[-1].startswith(f"{tmp_path / 'small'}: audio=1/16,video=1/5, ")
    assert "2 clips at each size" in (tmp_path / "ear.html").read_text()
    frontier = az.load(tmp_path / "ear").nesting
    assert len(frontier) == 4
    clip = [[{"audio": tmp_path / "clips" / "0.wav"}, {"video": tmp_path / "clips" / "0.mkv"}]]
    assert az.load(tmp_path / "small").run(clip) == az.load(tmp_path / "ear", audio="1/16", video="1/5").run(clip)
