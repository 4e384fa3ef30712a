from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch

from anysize.backbones.vision.named import open_tower
from anysize.backbones.vision.squares import readable, square, squares
from anysize.backbones.vision.towers import build_tower
from anysize.core.errors import AnysizeError, CheckpointError, DataError
from tests.tiny_vision import shapes, tiny_tower, write_tower

TIMM = "timm:vit_tiny_patch16_224:img_size=16,patch_size=4,embed_dim=24,depth=2,num_heads=2"


def library(name):
    """timm and torchvision: skipped where they are not installed, or not for this torch."""
    try:
        return pytest.importorskip(name)
    except RuntimeError:
        pytest.skip(f"{name} does not fit this torch")


def pixels(side=16, count=2):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_model_of_transformers_gives_its_own_tokens(tmp_path):
    wanted = tiny_tower()
    found = open_tower(write_tower(tmp_path / "vit"))
    x = pixels()
    tokens = wanted.net(pixel_values=x).last_hidden_state
    torch.testing.assert_close(found(x).pooled, tokens[:, 0])
    torch.testing.assert_close(found(x).patches.flatten(1, 2), tokens[:, 1:])
    assert (found.width, found.grid, found.patch, found.any_size) == (24, (4, 4), 4, True)
    assert found(pixels(8)).patches.shape == (2, 2, 2, 24)
    again = build_tower(found.spec)
    again.load_state_dict(found.state_dict())
    assert torch.equal(again(x).pooled, found(x).pooled)
    fresh = open_tower(tmp_path / "vit", from_scratch=True)
    assert not torch.equal(fresh(x).pooled, found(x).pooled)
    first = open_tower(tmp_path / "vit", layers=1)
    states = wanted.net(pixel_values=x, output_hidden_states=True).hidden_states
    torch.testing.assert_close(first(x).pooled, wanted.net.layernorm(states[1])[:, 0])


def test_a_tower_that_sees_no_squares_is_refused_by_its_shape(tmp_path):
    from transformers import ViTConfig, ViTModel

    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 4}
    for name, pixels in (("wide", [16, 32]), ("square", [16, 16])):
        ViTModel(ViTConfig(**shape, intermediate_size=48, image_size=pixels)).save_pretrained(tmp_path / name)
    with pytest.raises(AnysizeError, match=r"wide sees pictures of 16 x 32 pixels; expected .* squares"):
        open_tower(tmp_path / "wide")
    assert open_tower(tmp_path / "square").grid == (4, 4)


@torch.no_grad()
def test_registers_are_no_patches():
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    from anysize.backbones.huggingface import config_of
    from anysize.backbones.vision.towers import TransformersTower

    config = Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, patch_size=4, image_size=16, num_register_tokens=3
    )
    net = Dinov2WithRegistersModel(config).eval()
    shown = {"side": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "crop": 1.0}
    tower = TransformersTower(net, {"library": "transformers", "config": config_of(net), **shown})
    tokens = net(pixel_values=pixels()).last_hidden_state
    assert tokens.shape[1] == 1 + 3 + 16
    assert torch.equal(tower(pixels()).patches.flatten(1, 2), tokens[:, 4:])


@torch.no_grad()
def test_timm_gives_vision_transformers_and_convolutional_networks():
    library("timm")
    vit = open_tower(TIMM, from_scratch=True)
    x = pixels()
    tokens = vit.net.forward_features(x)
    assert torch.equal(vit(x).pooled, tokens[:, 0])
    assert torch.equal(vit(x).patches.flatten(1, 2), tokens[:, 1:])
    assert vit(pixels(8)).patches.shape == (2, 2, 2, 24)
    again = build_tower(vit.spec)
    again.load_state_dict(vit.state_dict())
    assert torch.equal(again(x).pooled, vit(x).pooled)
    conv = open_tower("timm:test_resnet", from_scratch=True)
    seen = conv(pixels(64))
    torch.testing.assert_close(seen.patches.mean((1, 2)), seen.pooled)
    with pytest.raises(AnysizeError, match="knows no model 'vit_nothing'"):
        open_tower("timm:vit_nothing", from_scratch=True)
    with pytest.raises(AnysizeError, match="'depth=many' is no name=number"):
        open_tower("timm:vit_tiny_patch16_224:depth=many")
    with pytest.raises(AnysizeError, match=r"cannot load the image model 'timm:vit_tiny_patch16_224'.*hub did not"):
        open_tower("timm:vit_tiny_patch16_224")  # its weights, without a network
    with pytest.raises(CheckpointError, match="knows no model 'hf-hub:somebody/something'"):
        build_tower({"library": "timm", "name": "hf-hub:somebody/something", "args": {}})
    with pytest.raises(CheckpointError, match="made with whole numbers"):  # a file that would be unpickled
        build_tower({**vit.spec, "args": {"checkpoint_path": "evil.pt"}})


@torch.no_grad()
def test_torchvision_gives_all_but_its_classifier():
    library("torchvision")
    from torchvision import models

    net = open_tower("torchvision:resnet18", from_scratch=True)
    whole = models.resnet18(weights=None).eval()
    parts = [part for name, part in whole.named_children() if name not in ("avgpool", "fc")]
    torch.nn.Sequential(*parts).load_state_dict(net.net.state_dict())
    whole.fc = torch.nn.Identity()
    torch.testing.assert_close(net(pixels(64)).pooled, whole(pixels(64)), atol=1e-5, rtol=1e-4)
    assert net(pixels(64)).patches.shape == (2, 2, 2, 512)
    with pytest.raises(AnysizeError, match="knows no image classifier 'fasterrcnn_resnet50_fpn'"):
        open_tower("torchvision:fasterrcnn_resnet50_fpn", from_scratch=True)


def test_a_square_is_the_middle_of_a_picture():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    assert square(wide, 10)[:, 2:-2, 2:-2].tolist() == np.full((3, 6, 6), 200).tolist()
    squeezed = square(wide, 12, 0)
    assert squeezed[0, 6, 0] == 0
    assert squeezed[0, 6, 6] > 190
    assert (squares([wide, wide], 8).shape, squares([], 8).shape) == ((2, 3, 8, 8), (0, 3, 8, 8))


def test_broken_pictures_are_left_out_with_a_count_or_refused(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    rows = [*shapes(2), tmp_path / "broken.png"]
    found, kept, said = readable(rows, 8)
    assert (len(found), kept) == (2, [0, 1])
    assert said.startswith("1 of 3 pictures are left out: ")
    assert "broken.png" in said
    with pytest.raises(DataError, match=r"broken\.png"):
        readable(rows, 8, strict=True)
    with pytest.raises(DataError, match=r"broken\.png"):
        readable(rows[2:], 8)


@pytest.mark.parametrize("side", [10_000, 30_000], ids=["large", "huge"])
def test_a_picture_too_large_to_be_true_is_broken_and_not_unpacked(tmp_path, side):
    """A header alone: what it says would need a tenth of a gigabyte and more."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [struct.pack(">I", 13), head, struct.pack(">I", zlib.crc32(head)), b"\0\0\0\0IDAT\x35\xaf\x06\x1e"]
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(DataError, match=r"bomb\.png cannot be read .*decompression bomb"):
        square(tmp_path / "bomb.png", 8)
