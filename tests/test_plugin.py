"""The package of `docs/plugin`, installed: every command and snippet of its README, and its own tests."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anysize.cli.main import run

PLUGIN = Path(__file__).parent.parent / "docs" / "plugin"
README = (PLUGIN / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which it is installed, as a reader would, without a network."""
    place = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, place / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--target", str(place / "site"), str(place / "source")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return place / "site"


def test_every_command_and_snippet_of_its_readme_runs(site, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed = {}
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", README, flags=re.DOTALL):
        if language == "python":
            exec(compile(block, "docs/plugin/README.md", "exec"), names)
            continue
        for command in re.findall(r"^anysize .*", block, flags=re.MULTILINE):
            words = shlex.split(command, comments=True)[1:]
            with contextlib.redirect_stdout(io.StringIO()) as out:
                try:
                    status = run(words)
                except SystemExit as left:  # as --help leaves
                    status = int(left.code or 0)
            assert status == 0, command
            printed[words[0]] = out.getvalue()
    assert "Nests in stages; learns from vectors." in " ".join(printed["methods"].split())
    said, found = (np.array(re.findall(r"^ +(\d) .*?(\.\d+) ±\S+ +(\.\d+) +(\.\d+)", text, re.MULTILINE), float)
                   for text in (README, printed["measure"]))  # fmt: skip
    assert found.shape == (3, 4)  # stages; nested, random, single
    np.testing.assert_allclose(found, said, atol=0.03)
    assert "Nesting(stages=(1, 2))" in printed["info"]


def test_its_own_tests_pass(site, tmp_path):
    shutil.copytree(PLUGIN / "tests", tmp_path / "tests")
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path / "tests")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_its_readme_quotes_its_project_and_links_to_files():
    (quoted,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    assert quoted in (PLUGIN / "pyproject.toml").read_text("utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (PLUGIN / link).exists(), link
