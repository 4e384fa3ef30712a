"""Every file of a saved model, of every kind, is what was saved, or it is refused by name; nothing can be added."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core import registry
from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.model.manifest import MANIFEST
from tests.conftest import undigested
from tests.kinds import ROWS, TEXTS, models

KINDS = (
    "causal-lm", "classifier", "codebook", "coder", "edited-lm", "embedder", "encoder", "image-encoder", "interleaved",
    "quantized-encoder", "quantized-lm", "sae", "speech", "ssb-encoder", "task-encoder", "vlm",
)  # fmt: skip
OLD = Path(__file__).parents[2] / "data" / "saved-before-digests"


@pytest.fixture(scope="module")
def saved(encoder_path: Path, lm_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A kind's saved model, once for all tests, with its input and its outputs."""
    made, root, known = models(encoder_path, lm_path), tmp_path_factory.mktemp("saved"), {}

    def of(kind: str) -> Any:
        if kind not in known:
            make, example = made[kind]
            model = make().eval()
            model.save(root / kind)
            known[kind] = (root / kind, example, run(model, example))
        return known[kind]

    return of


def run(model: Any, example: Any) -> dict[Any, torch.Tensor]:
    with torch.no_grad():
        return {size: dense(output) for size, output in model.outputs(example).items()}


def dense(output: torch.Tensor) -> torch.Tensor:
    return output.to_dense() if output.layout != torch.strided else output


def read(folder: Path, example: Any) -> dict[Any, torch.Tensor]:
    """Load and run: files that are read late are read then."""
    model: Any = az.load(folder)
    return run(model.for_task("text-matching") if model.kind == "task-encoder" else model, example)


def files_of(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_every_registered_kind_is_tried() -> None:
    assert set(registry.names("models")) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_comes_back_and_is_all_recorded(saved: Any, kind: str) -> None:
    folder, example, expected = saved(kind)
    found = read(folder, example)
    for size, output in expected.items():
        torch.testing.assert_close(found[size], output, atol=1e-5, rtol=1e-4)
    recorded = json.loads((folder / MANIFEST).read_text())["files"]
    assert recorded == {
        str(name): {
            "bytes": (folder / name).stat().st_size,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
        for name in files_of(folder)
        if str(name) not in (MANIFEST, "weights.safetensors")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_altered_is_refused_by_name(saved: Any, kind: str, tmp_path: Path) -> None:
    folder, example, _ = saved(kind)
    copy = shutil.copytree(folder, tmp_path / "copy")
    draw = np.random.default_rng(0)
    tried = 0
    for name in files_of(folder):
        whole = (folder / name).read_bytes()
        spots = {0, len(whole) - 1, *draw.integers(0, len(whole), 2 if len(whole) > 9 else 0).tolist()} if whole else ()
        harmed = [whole[:spot] + bytes([whole[spot] ^ 4]) + whole[spot + 1 :] for spot in spots]
        harmed += [whole[: len(whole) // 2], whole + b" \n", None]
        for content in harmed:
            if name.name == MANIFEST and content is not None and content[: len(whole)] == whole:
                continue  # white space after the JSON says nothing
            (copy / name).unlink()
            if content is not None:
                (copy / name).write_bytes(content)
            with pytest.raises(CheckpointError) as refused:
                read(copy, example)
            said = str(refused.value)
            assert name.name in said, (name, said)
            assert "\n" not in said
            tried += 1
            if not (copy / name).exists():
                (copy / name).touch()
        (copy / name).write_bytes(whole)
    assert tried > 5 * len(files_of(folder)) - 5
    read(copy, example)


ADDED = ("tokenizer.json", "tokenizer_config.json", "added_tokens.json", "adapter_config.json", "custom.py",
         "pytorch_model.bin", "model.safetensors", "modules.json", "config.json", "deep/config.json")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_added_is_refused_by_name(saved: Any, kind: str, tmp_path: Path) -> None:
    folder, example, _ = saved(kind)
    copy = shutil.copytree(folder, tmp_path / "copy")
    folders = {path.parent for path in files_of(folder)} - {Path()} | {Path("encoder"), Path("tokenizer"), Path("base")}
    for where in sorted(folders):
        for added in ADDED:
            path = copy / where / added
            if path.exists():
                continue
            new = [parent for parent in path.parents if not parent.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
            with pytest.raises(CheckpointError, match=f"holds {where / added}, which was not saved with the model"):
                az.load(copy)
            path.unlink()
            for parent in new:
                parent.rmdir()
    (copy / "link").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match="holds link"):
        az.load(copy)
    (copy / "link").unlink()
    (copy / "README.md").write_text("notes of mine beside the model")
    (copy / ".DS_Store").write_text("x")
    read(copy, example)


def test_a_size_is_loaded_without_reading_what_other_sizes_have(saved: Any, tmp_path: Path) -> None:
    """The encoder is read, and checked, when the first text comes; its files are not touched before."""
    copy = shutil.copytree(saved("embedder")[0], tmp_path / "copy")
    for file in (copy / "encoder").rglob("*.*"):
        if file.is_file():
            file.chmod(0)
            file.write_bytes(b"altered")
    model: Any = az.load(copy, dims=4)
    with pytest.raises(CheckpointError, match=r"encoder/.* holds 7 bytes"):
        model.encode(TEXTS)


@pytest.mark.parametrize("kind", ["embedder", "sae"])
def test_models_that_were_saved_before_files_were_recorded_still_load(kind: str) -> None:
    found = read(OLD / kind, TEXTS if kind == "embedder" else torch.from_numpy(ROWS))
    with np.load(OLD / "outputs.npz") as expected:
        for size, output in found.items():
            np.testing.assert_allclose(output, expected[f"{kind} {size}"], atol=1e-5)


def test_info_says_what_is_verified(anysize: Any, saved: Any) -> None:
    assert "all files" in anysize("info", saved("embedder")[0], "--json").json["verified"]
    assert "weights alone" in anysize("info", OLD / "embedder", "--json").json["verified"]


def set_to(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{f"{key}={value!r}"[:40]: set_to(key, value=value)
       for key in ("nesting", "config", "about", "fingerprint", "tensors", "nested", "owned", "made_by", "kind")
       for value in (None, 3, [], "x", {"a": 1})
       if not (isinstance(value, str) and key in ("fingerprint", "made_by"))
       and not (isinstance(value, dict) and key == "about")},
    "no sizes": set_to("nesting", "sizes", value=[]),
    "a size of 0": set_to("nesting", "sizes", 0, value={"dims": 0}),
    "a size of text": set_to("nesting", "sizes", 0, value={"dims": "4"}),
    "a weight of nan": set_to("nesting", "weights", 0, value=float("nan")),
    "a weight of text": set_to("nesting", "weights", 0, value="1"),
    "huge sizes": set_to("nesting", "sizes", value=[{"dims": 10**12}]),
    "a stop of text": set_to("tensors", "weight", "blocks", 0, "stop", value="4"),
    "a negative stop": set_to("tensors", "weight", "blocks", 0, "stop", value=-4),
    "no blocks": set_to("tensors", "weight", "blocks", value=[]),
    "a dim of -1": set_to("tensors", "weight", "dim", value=-1),
    "a dim of 7": set_to("tensors", "weight", "dim", value=7),
    "another dtype": set_to("tensors", "weight", "dtype", value="int32"),
    "a block that is none": set_to("tensors", "weight", "blocks", 0, "block", value="../../etc/passwd"),
    "nested in nothing": set_to("nested", "weight", value=["depth", 0]),
    "nested in a text": set_to("nested", "weight", value="dims"),
    "owned by nothing": set_to("owned", value={"weight": {"depth": 1}}),
    "negative features": set_to("config", "in_features", value=-1),
    "features of text": set_to("config", "in_features", value="32"),
    "features of 1e9": set_to("config", "in_features", value=1e9),
    "a file outside": set_to("files", value={"../outside": {"bytes": 1, "sha256": "0" * 64}}),
    "an absolute file": set_to("files", value={"/etc/passwd": {"bytes": 1, "sha256": "0" * 64}}),
    "a file of minus one byte": set_to("files", value={"encoder/x": {"bytes": -1, "sha256": "0" * 64}}),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_manifest_that_says_what_cannot_be_is_refused(saved: Any, case: str, tmp_path: Path) -> None:
    """Made by hand with a checksum that fits, or by an older version without one."""
    for digested in (True, False):
        copy = shutil.copytree(saved("embedder")[0], tmp_path / str(digested))
        if not digested:
            undigested(copy)
        manifest = json.loads((copy / MANIFEST).read_text())
        WRONG[case](manifest)
        if digested:
            rest = {name: value for name, value in manifest.items() if name != "sha256"}
            manifest["sha256"] = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
        (copy / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(AnysizeError) as refused:
            read(copy, TEXTS)
        assert "\n" not in str(refused.value)
