"""Every program of the benchmarks and recipes starts, and says what it is about."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for top in ("benchmarks", "recipes")
    for file in (ROOT / top).rglob("*.py")
    if '__name__ == "__main__"' in (text := file.read_text("utf-8"))
    and (top == "recipes" or "parse_args(" in text)
    and not file.name.endswith("_worker.py")
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_says_what_a_program_is_about(name, capsys, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as left:
        module.main()
    assert left.value.code == 0
    printed = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert re.sub(r"\s+", " ", module.__doc__.strip())[:80] in printed
    assert "--" in printed.replace("--help", "")


def test_there_are_many():
    assert len(PROGRAMS) > 25
