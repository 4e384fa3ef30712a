"""The recipes of visual tokens, on a model that learnt for a few steps."""

from pathlib import Path

import pytest

from recipes import m3, mqt


@pytest.mark.parametrize(("recipe", "made"), [(m3, "llava4"), (mqt, "queries.html")], ids=["m3", "mqt"])
def test_a_recipe_ends_in_a_frontier(recipe, made, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("sklearn")
    recipe.main(["--out", str(tmp_path), "--warm", "2", "--each", "32"])
    said = capsys.readouterr().out
    assert "interval over 16 questions" in said
    assert (tmp_path / made).exists()
