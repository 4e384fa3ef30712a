"""The recipe of MatQuant, from the data to what other engines read, in a tiny setting."""

import json

import pytest

import anysize as az
from recipes import matquant
from tests.conftest import sentences


def test_from_texts_to_exports(encoder_path, tmp_path, capsys):
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": one}) for one in sentences(64)))
    words = [
        "--learn",
        str(tmp_path / "texts.jsonl"),
        "--measure",
        str(tmp_path / "texts.jsonl"),
        "--out",
        str(tmp_path / "o"),
    ]
    matquant.main([*words, "--model", str(encoder_path), "--formats", "gguf,safetensors", "--within", "0.9"])
    said = capsys.readouterr().out
    assert "bits=2 loses at most 90%" in said
    assert (tmp_path / "o" / "gguf" / "model.gguf").exists()
    assert (tmp_path / "o" / "safetensors" / "modules.json").exists()
    assert az.load(tmp_path / "o" / "model").plan.scheme.symmetric
    with pytest.raises(SystemExit):
        matquant.main(["--out", str(tmp_path / "o")])
