"""The recipe of clinical coding, on its invented clinic."""

from pathlib import Path

import pytest

from recipes import coding


def test_the_recipe_ends_in_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    coding.main(["--out", str(tmp_path)])
    table = capsys.readouterr().out.splitlines()
    assert any("cheapest within 2 %: dims=" in line for line in table)
    assert any("train: offsets count a newline as two" in line for line in table)
    assert any("хр. холецистит K81.1" in line for line in table)
    assert any("ИБС I25.9" in line for line in table)
