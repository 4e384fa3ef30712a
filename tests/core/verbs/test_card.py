"""Model cards: names of any kind come through YAML unharmed, and what is not known is left out."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anysize.core.engine_checks import Exported
from anysize.core.errors import CheckpointError
from anysize.core.sizes.size import Size
from anysize.core.verbs.card import CARD, card, check_card, quoted

yaml = pytest.importorskip("yaml")
SIZE, AS = Size(layers=2, dims=24), Exported("sentence-transformers", how='SentenceTransformer("x")')


def front(text: str) -> dict:
    return yaml.safe_load(text.split("---\n", 2)[1])


@given(st.text())
@example("a: b # c")
@example("no")
@example("\x00\x7f\x85\u2028\ufeff\U0001f680\"'\\")
def test_every_text_is_the_same_after_yaml(text):
    assert yaml.safe_load(f"key: {quoted(text)}") == {"key": text.encode("utf-8", "replace").decode()}


@given(st.text(), st.text(), st.text())
def test_whatever_things_are_called_the_card_is_read(name, method, data):
    about = {"method": method, "data": {"name": data, "fingerprint": "ab"}, "options": {"model": name}}
    found = front(card(name, SIZE, AS, about))
    assert found["library_name"] == "sentence-transformers"
    written = method.encode("utf-8", "replace").decode()
    assert found["tags"] == list(dict.fromkeys(t for t in ("matryoshka", "anysize", written, AS.format) if t))


def test_what_is_known_is_said_and_nothing_else(tmp_path):
    about = {"method": "mrl", "data": {"name": "docs", "fingerprint": "f" * 64}, "options": {"model": "org/base"}}
    text = card("small", SIZE, AS, about)
    assert front(text) == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "base_model": "org/base",
        "tags": ["matryoshka", "anysize", "mrl", "sentence-transformers"],
    }
    assert f"| fingerprint of that data | `{'f' * 64}` |" in text
    assert "Figures" not in text
    (tmp_path / CARD).write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# base\n")
    found = front(card("small", SIZE, AS, {"options": {"model": str(tmp_path)}}))
    assert "base_model" not in found  # the hub knows no folder of this machine
    assert found["license"] == "apache-2.0"
    assert set(front(card("small", SIZE, Exported("gguf"), {}))) == {"library_name", "tags"}


def test_a_card_is_ours_until_a_letter_changes(tmp_path):
    check_card(tmp_path)
    check_card(tmp_path / "nowhere")
    text = card("small", SIZE, AS, {})
    (tmp_path / CARD).write_text(text, "utf-8")
    check_card(tmp_path)
    for changed in (text.replace("small", "smell", 1), text + "\n", text.partition("<!--")[0], ""):
        (tmp_path / CARD).write_text(changed, "utf-8")
        with pytest.raises(CheckpointError, match=r"README\.md was changed since anysize wrote it"):
            check_card(tmp_path)
