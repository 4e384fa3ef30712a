from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from anysize.backbones.causal import is_causal_lm
from anysize.backbones.packaged import PACKAGED, packaged
from anysize.backbones.sentence import Encoder
from anysize.core.errors import CheckpointError
from anysize.core.files import sha256


def test_the_packaged_encoder_is_the_published_one():
    package, digest = PACKAGED["all-MiniLM-L6-v2"]
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip("the demo extra is not installed")
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    folder = Path(packaged("all-MiniLM-L6-v2"))
    assert sha256(folder / "model.safetensors") == digest
    encoder = Encoder("sentence-transformers/all-MiniLM-L6-v2")
    cat, dog, tax = encoder.encode(["a cat sleeps", "a dog sleeps", "the tax on imports rose"])
    assert encoder.dimension == 384
    assert cat @ dog > cat @ tax + 0.2


def test_a_packaged_encoder_with_other_weights_is_refused(monkeypatch):
    package, _ = PACKAGED["all-MiniLM-L6-v2"]
    if importlib.util.find_spec(package) is None:
        pytest.skip("the demo extra is not installed")
    monkeypatch.setitem(PACKAGED, "all-MiniLM-L6-v2", (package, "0" * 64))
    with pytest.raises(CheckpointError, match="not those published"):
        Encoder("all-MiniLM-L6-v2").encode(["a"])


def test_what_kind_a_packaged_model_is_asks_no_hub(monkeypatch):
    if packaged("all-MiniLM-L6-v2") is None:
        pytest.skip("the demo extra is not installed")
    from transformers import PretrainedConfig

    monkeypatch.setattr(PretrainedConfig, "get_config_dict", lambda *_: pytest.fail("the hub was asked"))
    assert not is_causal_lm("all-MiniLM-L6-v2")
    assert not is_causal_lm("sentence-transformers/all-MiniLM-L6-v2")
