"""Scikit-learn's digits as pictures in folders, and with masks; and a small vision transformer to train on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 16


def write_pictures(folder: Path, count: int | None = None) -> Path:
    """An ImageFolder of 1,797 digits, or of the first so many, twice as large as they are."""
    from PIL import Image

    for place, (shown, label) in enumerate(_digits(count)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(shown).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(
            folder / str(label) / f"{place:04}.png"
        )
    return folder


def write_masks(folder: Path, count: int = 300) -> Path:
    """Digits in a corner of a larger picture, with masks: the digit's number where its ink is, 10 elsewhere."""
    from PIL import Image

    (folder / "images").mkdir(parents=True, exist_ok=True)
    draw, lines = np.random.default_rng(0), []
    for place, (shown, label) in enumerate(_digits(count)):
        picture, mask = np.zeros((SIDE, SIDE), np.uint8), np.full((SIDE, SIDE), 10, np.uint8)
        top, left = draw.integers(0, SIDE - 7, 2)
        picture[top : top + 8, left : left + 8] = shown
        mask[top : top + 8, left : left + 8] = np.where(shown > 60, label, 10)
        names = [f"images/{place:03}.png", f"images/{place:03}-mask.png"]
        for name, held in zip(names, (picture, mask), strict=True):
            Image.fromarray(held).save(folder / name)
        lines.append(json.dumps({"file_name": names[0], "mask": names[1]}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def _digits(count: int | None) -> Any:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return zip((digits.images[:count] * 255 / 16).astype(np.uint8), digits.target[:count].tolist(), strict=False)


def write_transformer(folder: Path, seed: int = 0) -> Path:
    """A vision transformer of four blocks and width 64 with fresh weights, as a folder of transformers."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    from anysize.core.quiet import quiet

    torch.manual_seed(seed)
    config = Dinov2Config(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=4, mlp_ratio=2, patch_size=4, image_size=SIDE,
        layerscale_value=1.0,
    )  # fmt: skip
    with quiet():
        Dinov2Model(config).save_pretrained(folder)
    return folder
