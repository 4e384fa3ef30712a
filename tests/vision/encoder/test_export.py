from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import anysize as az
from anysize.backbones.vision.named import open_tower
from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.vision import ImageEncoder
from tests.backbones.vision.test_towers import TIMM, library
from tests.kinds import models
from tests.tiny_vision import shapes


def test_onnx_runtime_gives_vectors_and_patches_of_a_size(tmp_path, anysize):
    from onnxruntime import InferenceSession

    made = models(None, None)["image-encoder"][0]()
    made.save(tmp_path / "seer")
    said = anysize("cut", tmp_path / "seer", "--size", "dims=8", "--out", tmp_path / "cut", "--json")
    assert said.status == 0, said
    assert said.json["checks"][0]["engine"] == "ONNX Runtime"
    rows = np.stack(shapes(3, side=16)).transpose(0, 3, 1, 2).astype(np.float32) / 255
    session = InferenceSession(str(tmp_path / "cut" / "model.onnx"), providers=["CPUExecutionProvider"])
    vectors, patches = session.run(None, {"pixels": rows})
    np.testing.assert_allclose(vectors, made.at(dims=8).encode(shapes(3, side=16)), atol=1e-4)
    np.testing.assert_allclose(patches, made.at(dims=8).patches(shapes(3, side=16)), atol=1e-4)


@torch.no_grad()
def test_transformers_opens_the_tower_and_the_head_lies_beside_it(tmp_path):
    from safetensors.torch import load_file
    from transformers import AutoModel

    made = models(None, None)["image-encoder"][0]()
    done = made.at(dims=8).export(tmp_path / "cut", "transformers")
    assert any("patches.safetensors" in note for note in done.notes)
    assert any("last_hidden_state[:, 0] @ weight.T" in note for note in done.notes)
    tokens = AutoModel.from_pretrained(tmp_path / "cut")(pixel_values=made.tower.pixels(shapes(3))).last_hidden_state
    head, flat = (load_file(tmp_path / "cut" / f"{name}.safetensors")["weight"] for name in ("head", "patches"))
    found = torch.nn.functional.normalize(tokens[:, 0] @ head.T, dim=-1)
    np.testing.assert_allclose(found.numpy(), made.at(dims=8).encode(shapes(3)), atol=1e-5)
    found = torch.nn.functional.normalize(tokens[:, 1:] @ flat.T, dim=-1).unflatten(1, (4, 4))
    np.testing.assert_allclose(found.numpy(), made.at(dims=8).patches(shapes(3)), atol=1e-5)
    with pytest.raises(AnysizeError, match="one of transformers and cannot be written for timm; write transformers or"):
        made.export(tmp_path / "timm", "timm")
    assert not (tmp_path / "timm").exists()


@torch.no_grad()
def test_timm_opens_it_with_the_head_as_its_classifier(tmp_path):
    timm = library("timm")
    tower = open_tower(TIMM, from_scratch=True)
    made = ImageEncoder(Nesting(dims=(8, 24)), tower, weight=torch.randn(24, 24), flat=torch.randn(24, 24))
    made.save(tmp_path / "seer")
    small = az.load(tmp_path / "seer", "dims=8")
    small.export(tmp_path / "cut", "timm")
    again = timm.create_model(f"local-dir:{tmp_path / 'cut'}", pretrained=True).eval()
    found = again(tower.pixels(shapes(3))).numpy()
    np.testing.assert_allclose(
        found / np.linalg.norm(found, axis=1, keepdims=True), made.at(dims=8).encode(shapes(3)), atol=1e-4
    )
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["num_classes"] == 8
    from transformers import AutoModelForImageClassification

    small.export(tmp_path / "wrapped", "transformers")
    again = AutoModelForImageClassification.from_pretrained(tmp_path / "wrapped").eval()
    torch.testing.assert_close(again(pixel_values=tower.pixels(shapes(3))).logits, torch.from_numpy(found))
