"""The page for operators: its requests and snippets are answered by a server as it describes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from anysize.serve.held.house import House
from tests.conftest import sentences
from tests.serve.conftest import running

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")


@pytest.fixture(scope="module")
def client(encoder, tmp_path_factory):
    import torch

    from anysize.text import Embedder

    home = tmp_path_factory.mktemp("docs")
    model = Embedder(Nesting(dims=(64, 128)), 32, encoder=encoder, weight=torch.randn(128, 32))
    model.save(home / "mine")
    Index.build(home / "idx", str(home / "mine"), sentences(30))
    house = House()
    house.open(str(home / "mine"))
    house.open(str(home / "idx"))
    with running(house) as found:
        yield found


@pytest.fixture(scope="module")
def encoder(encoder_path):
    from anysize.backbones.sentence import Encoder

    return Encoder(str(encoder_path))


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_its_requests(client):
    commands = re.findall(r"^curl .*", PAGE, re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        words = shlex.split(command.replace("http://127.0.0.1:8080", client.url))
        answer = json.loads(subprocess.run([*words, "-sS"], capture_output=True, check=True, timeout=30).stdout)
        assert "error" not in answer, command


def test_its_snippets(client):
    pytest.importorskip("openai", reason="openai is not installed (extra test-clients)")
    for snippet in re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL):
        names: dict[str, object] = {}
        exec(compile(snippet.replace("http://127.0.0.1:8080", client.url), "docs/serving.md", "exec"), names)
        assert len(names["found"].data[0].embedding) == 64  # type: ignore[attr-defined]


def test_every_code_and_flag_that_it_names_is_there_and_every_code_is_named():
    folder = Path(__file__).parents[2] / "src" / "anysize"
    source = "\n".join(file.read_text("utf-8") for file in (folder / "serve").rglob("*.py"))
    codes = set(re.findall(r"Refused\(\s*\d+, \"(\w+)\"", source)) | {"size_not_trained", "bad_input", "not_found"}
    codes |= {"method_not_allowed", "loading"}
    for code in codes:
        assert f"`{code}`" in PAGE, code
    flags = (folder / "cli" / "verbs" / "serve.py").read_text("utf-8")
    for flag in re.findall(r"`--([\w-]+)", PAGE):
        assert f"    {flag.replace('-', '_')}: " in flags, flag


def test_what_deploys_it_names_commands_that_there_are():
    home = Path(__file__).parents[2] / "deploy"
    flags = (Path(__file__).parents[2] / "src" / "anysize" / "cli" / "verbs" / "serve.py").read_text("utf-8")
    for name in ("Dockerfile", "anysize.service"):
        text = (home / name).read_text("utf-8")
        used = re.findall(r"^(?:ENTRYPOINT|ExecStart=|# docker run).*", text, re.MULTILINE)
        for flag in re.findall(r"--(host|port|index|api-key-file)", " ".join(used)):
            assert f"    {flag.replace('-', '_')}: " in flags
    service = (home / "anysize.service").read_text("utf-8")
    assert int(re.findall(r"TimeoutStopSec=(\d+)", service)[0]) > 25 + 5  # drain and its notice
