"""The recipe of beams, on its own channels."""

from pathlib import Path

import numpy as np
import pytest

from recipes import beams


def test_the_recipe_ends_in_a_page_a_book_and_an_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    beams.main(["--out", str(tmp_path), "--rounds", "3"])
    said = capsys.readouterr().out
    assert said.count("cheapest within 0.5 dB") == 2
    assert np.load(tmp_path / "book16" / "codebook.npz")["beams"].shape == (16, 64)
    page = (tmp_path / "beams.html").read_text()
    assert (
        page.index("Gain against feedback bits") < page.index("Who gets how much") < page.index("Where the beams look")
    )
