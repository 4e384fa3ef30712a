"""No code that comes with a model runs, and nobody is asked whether it may, wherever a model is read."""

from __future__ import annotations

import io
import json
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import anysize as az
from anysize.backbones.huggingface import TOKENIZER, pretrained, read_tokenizer
from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.model.manifest import MANIFEST
from tests.conftest import undigested, write_pairs
from tests.kinds import models

SOURCES = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> str:
        raise AssertionError("somebody was asked")

    monkeypatch.setattr("builtins.input", asked)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\ny\ny\n"))


@pytest.fixture
def trap(tmp_path: Path) -> tuple[str, Path]:
    """Source of a module that leaves a mark when it is run, and the mark."""
    mark = tmp_path / "it ran"
    return f"open({str(mark)!r}, 'w').close()\nclass Custom:\n    pass\n", mark


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def tokenizer_of_its_own(folder: Path, source: str) -> None:
    (folder / "custom.py").write_text(source)
    change(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["custom.Custom", "custom.Custom"]},
        tokenizer_class="Custom",
    )


def model_of_its_own(folder: Path, source: str) -> None:
    (folder / "custom.py").write_text(source)
    names = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForMaskedLM")
    change(folder / "config.json", auto_map=dict.fromkeys(names, "custom.Custom"), model_type="custom")


def module_of_its_own(folder: Path, source: str) -> None:
    (folder / "custom.py").write_text(source)
    modules = json.loads((folder / "modules.json").read_text())
    modules[-1]["type"] = "custom.Custom"
    (folder / "modules.json").write_text(json.dumps(modules))


def run(model: Any, texts: list[str]) -> None:
    (model.for_task("text-matching") if model.kind == "task-encoder" else model).outputs(texts)


WAYS: dict[str, Callable[[Path, str], None]] = {
    "tokenizer": tokenizer_of_its_own, "model": model_of_its_own, "module": module_of_its_own,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["embedder", "task-encoder"])
def test_an_encoder_inside_ours(
    kind: str, way: str, encoder_path: Path, lm_path: Path, tmp_path: Path, trap: tuple[str, Path]
) -> None:
    make, texts = models(encoder_path, lm_path)[kind]
    make().save(tmp_path / "m")
    inside = undigested(tmp_path / "m") / ("encoder" if kind == "embedder" else "base")
    WAYS[way](inside, trap[0])
    with pytest.raises(CheckpointError):
        run(az.load(tmp_path / "m"), texts)
    assert not trap[1].exists()


@pytest.mark.parametrize("kind", ["encoder", "quantized-encoder", "causal-lm", "quantized-lm"])
def test_a_tokenizer_and_a_configuration_inside_ours(
    kind: str, encoder_path: Path, lm_path: Path, tmp_path: Path, trap: tuple[str, Path]
) -> None:
    models(encoder_path, lm_path)[kind][0]().save(tmp_path / "m")
    tokenizer_of_its_own(undigested(tmp_path / "m") / TOKENIZER, trap[0])
    with pytest.raises(CheckpointError, match="runs none that comes with a model"):
        az.load(tmp_path / "m")
    assert not trap[1].exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_base_that_is_fitted(
    way: str, encoder_path: Path, tmp_path: Path, trap: tuple[str, Path], anysize: Any
) -> None:
    base = shutil.copytree(encoder_path, tmp_path / "base")
    WAYS[way](base, trap[0])
    write_pairs(tmp_path / "pairs.jsonl")
    said = anysize("fit", tmp_path / "pairs.jsonl", "--model", base, "--out", tmp_path / "m", "--dims", "4")
    said.refused(str(base))
    assert "trust_remote_code" not in said.err
    assert not trap[1].exists()


def test_a_model_by_an_auto_class(lm_path: Path, tmp_path: Path, trap: tuple[str, Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = shutil.copytree(lm_path, tmp_path / "lm")
    tokenizer_of_its_own(base, trap[0])
    with pytest.raises(CheckpointError, match="needs code of its own"):
        pretrained(AutoTokenizer, base)
    model_of_its_own(base, trap[0])
    with pytest.raises(CheckpointError, match="needs code of its own"):
        pretrained(AutoModelForCausalLM, base)
    assert not trap[1].exists()


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return open, (str(self.mark), "w")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "1_Pooling/pytorch_model.bin"])
def test_pickled_weights_run_nothing(
    name: str, encoder_path: Path, tmp_path: Path, trap: tuple[str, Path], anysize: Any
) -> None:
    base = shutil.copytree(encoder_path, tmp_path / "base")
    (base / "model.safetensors").unlink()
    for content in (pickle.dumps({"x": Bomb(trap[1])}), None):
        if content is None:
            torch.save({"x": Bomb(trap[1])}, base / name)
        else:
            (base / name).write_bytes(content)
        write_pairs(tmp_path / "pairs.jsonl")
        anysize("fit", tmp_path / "pairs.jsonl", "--model", base, "--out", tmp_path / "m", "--dims", "4").refused(
            "base"
        )
        assert not trap[1].exists()


def test_a_damaged_tokenizer_is_one_sentence(encoder_path: Path, lm_path: Path, tmp_path: Path) -> None:
    """Of a model that was saved without digests."""
    models(encoder_path, lm_path)["causal-lm"][0]().save(tmp_path / "m")
    file = undigested(tmp_path / "m") / TOKENIZER / "tokenizer.json"
    whole = file.read_text()
    for content in ("", "[]", "{}", "{", "\0", whole.replace('"WordLevel"', '"Word"'), whole[: len(whole) // 2]):
        file.write_text(content)
        with pytest.raises(CheckpointError, match="tokenizer") as refused:
            read_tokenizer(tmp_path / "m")
        assert "\n" not in str(refused.value)


def test_a_configuration_that_names_code_is_saved_without_it(lm_path: Path, tmp_path: Path) -> None:
    from anysize.quantize import CausalLM

    model = CausalLM.from_pretrained(lm_path)
    model.lm.config.auto_map = {"AutoModel": "custom.Custom"}
    model.save(tmp_path / "m")
    assert "custom.Custom" not in (tmp_path / "m" / MANIFEST).read_text()


def test_no_line_of_ours_reads_a_model_without_saying_so() -> None:
    """What would run code: an auto class without `pretrained`, torch.load, pickle, yaml, eval, exec."""
    places = [path for folder in ("src", "benchmarks", "recipes") for path in (SOURCES / folder).rglob("*.py")]
    assert len(places) > 200
    for path in places:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            where = f"{path.relative_to(SOURCES)}:{number}: {line.strip()}"
            assert not re.search(r"(?<!')\bAuto\w+\.from_pretrained\(|trust_remote_code=True", line), where
            assert not re.search(r"\b(pickle|cPickle|dill|joblib|yaml)\.(load|loads|safe_load|full_load)\(", line), (
                where
            )
            assert not re.search(r"(?<![.\w])(eval|exec|__import__)\(", line), where
            # The campaign of malicious files makes a pickle in order to see that nobody reads it.
            assert not re.search(r"allow_pickle=True", line) or "np.save(" in line, where
            if re.search(r"torch\.load\(", line):
                assert "weights_only=True" in line, where
            if re.search(r"np\.load\(", line):
                assert "allow_pickle" not in line or "allow_pickle=False" in line, where


def test_a_kind_is_looked_up_among_the_registered_and_nowhere_else(tmp_path: Path) -> None:
    for kind in ("os:system", "anysize.cli.main", "../embedder", "", "builtins"):
        (tmp_path / MANIFEST).write_text(json.dumps({"format": 1, "kind": kind}))
        with pytest.raises(AnysizeError, match="no model is called"):
            az.load(tmp_path)
