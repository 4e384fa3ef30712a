"""Image encoders with random weights, and pictures, small enough to run a hundred times a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.backbones.vision.towers import TransformersTower

SIDE = 16


def tiny_tower(seed: int = 0, **options: Any) -> TransformersTower:
    """A DINOv2 of two blocks and width 24 that sees 16 x 16 pixels in 4 x 4 patches."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(seed)
    config = Dinov2Config(
        **{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2, "patch_size": 4,
           "image_size": SIDE, "initializer_range": 0.3, "layerscale_value": 1.0} | options
    )  # fmt: skip
    from anysize.backbones.huggingface import config_of

    net = Dinov2Model(config).eval()
    shown = {"side": SIDE, "mean": [0.5] * 3, "std": [0.25] * 3, "crop": 1.0}
    return TransformersTower(net, {"library": "transformers", "config": config_of(net), **shown})


def write_tower(folder: Path) -> Path:
    tower = tiny_tower()
    from anysize.core.quiet import quiet

    with quiet():
        tower.net.save_pretrained(folder)  # type: ignore[operator]
    return folder


def shapes(count: int, side: int = 20, seed: int = 0) -> list[np.ndarray]:
    """Pictures of noise with a bright square whose colour is one of three, in turn: the classes."""
    draw = np.random.default_rng(seed)
    found = []
    for place in range(count):
        one = draw.integers(0, 120, (side, side, 3), dtype=np.uint8)
        top, left = draw.integers(0, side // 2, 2)
        one[top : top + side // 2, left : left + side // 2, place % 3] = 255
        found.append(one)
    return found


def write_folder(folder: Path, count: int = 24, *, labelled: bool = True, seed: int = 0) -> Path:
    """The same as an ImageFolder of three classes, or as plain files."""
    from PIL import Image

    for place, one in enumerate(shapes(count, seed=seed)):
        home = folder / ("red", "green", "blue")[place % 3] if labelled else folder
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(home / f"{place:03}.png")
    return folder


def write_photos(folder: Path) -> None:
    """``my-vit``, a model; ``photos`` and ``labelled``, pictures; ``roads``, pictures with masks; and ``photo.jpg``."""
    from PIL import Image

    write_tower(folder / "my-vit")
    write_folder(folder / "photos", 24, labelled=False)
    write_folder(folder / "labelled", 30, seed=1)
    write_masks(folder / "roads")
    Image.fromarray(shapes(1, seed=2)[0]).save(folder / "photo.jpg")


def write_masks(folder: Path, count: int = 30, side: int = 20) -> Path:
    """Pictures whose halves differ, and masks that say which half is which; of three points nothing is known."""
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    lines, draw = [], np.random.default_rng(0)
    for place in range(count):
        mask = np.zeros((side, side), np.uint8)
        mask[:, : int(draw.integers(6, 14))] = 3
        shown = draw.integers(0, 60, (side, side, 3), dtype=np.uint8) + np.uint8(150) * (mask == 3)[..., None]
        mask[0, :3] = 255
        Image.fromarray(shown.astype(np.uint8)).save(folder / "images" / f"{place}.png")
        Image.fromarray(mask).save(folder / "images" / f"{place}-mask.png")
        lines.append({"file_name": f"images/{place}.png", "mask": f"images/{place}-mask.png"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder
