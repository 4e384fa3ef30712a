"""The recipes of visual tokens, on a model that learnt for a few steps."""

from pathlib import Path

import pytest

from recipes import m3, mme, mqt


@pytest.mark.parametrize(("recipe", "made"), [(m3, "llava4"), (mqt, "queries.html")], ids=["m3", "mqt"])
def test_a_recipe_ends_in_a_frontier(recipe, made, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("sklearn")
    recipe.main(["--out", str(tmp_path), "--warm", "2", "--each", "32"])
    said = capsys.readouterr().out
    assert "interval over 16 questions" in said
    assert (tmp_path / made).exists()


def test_the_recipe_of_retrieval_ends_in_a_frontier_and_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("sklearn")
    mme.main(["--out", str(tmp_path), "--warm", "2", "--each", "32"])
    *table, first, second, third = capsys.readouterr().out.splitlines()
    assert any("queries at tokens=1" in line for line in table)
    scores = [float(line.split()[0]) for line in (first, second, third)]
    assert scores == sorted(scores, reverse=True)
    assert "[" in first  # a picture among the words
    assert (tmp_path / "finder.html").exists()
