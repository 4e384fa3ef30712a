"""docs/openapi.json is what a server of a text model, a language model, one that hears, and an index describes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from anysize.core.version import __version__
from anysize.search import Index
from anysize.serve.app import build
from anysize.serve.held.house import House
from tests.conftest import sentences
from tests.tiny_speech import tiny_speech

PAGE = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture
def house(kinds, tmp_path):
    kinds("encoder").save(tmp_path / "mine")
    Index.build(tmp_path / "idx", str(tmp_path / "mine"), sentences(4))
    found = House()
    found.open(str(tmp_path / "idx"))
    found.add("lm", kinds("causal-lm"))
    found.add("ear", tiny_speech(video=None, tasks=["asr"]))
    yield found
    found.close(5)


def test_the_document_is_the_servers_own(house):
    """ANYSIZE_WRITE_OPENAPI=1 writes it anew."""
    said = build(house).openapi()
    assert said["info"].pop("version") == __version__
    if os.environ.get("ANYSIZE_WRITE_OPENAPI"):
        PAGE.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    assert json.loads(PAGE.read_text("utf-8")) == json.loads(json.dumps(said))
    assert {"/v1/embeddings", "/v1/chat/completions", "/v1/audio/transcriptions", "/search", "/run"} <= set(
        said["paths"]
    )
