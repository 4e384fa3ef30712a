"""The recipe of MSAE on images, with a small CLIP made here and images of two colours."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.errors import AnysizeError, DataError
from recipes import msae
from tests.conftest import WORDS


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("clip")
    words = {word: number for number, word in enumerate(["<pad>", "<start>", "<end>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", bos_token="<start>", pad_token="<pad>", unk_token="<end>"
    )
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(images, fast).save_pretrained(place)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={
            **small,
            "vocab_size": len(words),
            "max_position_embeddings": 16,
            "eos_token_id": 2,
            "bos_token_id": 1,
        },
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=12,
    )
    CLIPModel(config).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (root / "cifar10").mkdir()
    for part, count in (("train", 60), ("test", 20)):
        with zipfile.ZipFile(root / "cifar10" / f"{part}.zip", "w") as held:
            for number in range(count):
                kind = ("red", "blue")[number % 2]
                pixels = rng.integers(0, 90, (16, 16, 3))
                pixels[..., 0 if kind == "red" else 2] += 150
                with held.open(f"{kind}/{number:03}.png", "w") as file:
                    Image.fromarray(pixels.astype(np.uint8)).save(file, "png")
    (root / "word_lists").mkdir()
    (root / "word_lists" / "laion_400_unigram.txt").write_text("\n".join(WORDS))
    return root


def test_from_images_to_named_concepts(clip, data, tmp_path, capsys):
    options = ["--latents", "32", "--active", "4", "32", "--steps", "30", "--images", "60", "--words", "40"]
    msae.main(["--data", str(data), "--clip", str(clip), "--out", str(tmp_path / "out"), *options])
    said = capsys.readouterr().out
    assert "of 32 latents have a name" in said
    assert "active=4: agreement" in said
    assert "correlation" in said
    sae = az.load(tmp_path / "out" / "sae")
    assert sae.nesting.values("active") == (4, 32)
    names = json.loads((tmp_path / "out" / "names.json").read_text())["concepts"]
    assert len(names) == 32
    assert {one["name"] for one in names} <= set(WORDS[-40:])
    assert "red/000.png" in (tmp_path / "out" / "look.html").read_text()


def test_both_towers_meet_in_one_space(clip, data):
    towers = msae.Clip(str(clip))
    names, classes, images = msae.embedded(towers, data, "test", 6)
    words = towers.words(WORDS[:5])
    assert images.shape == (6, 12)
    assert words.shape == (5, 12)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([images, words]), axis=1), 1, atol=1e-5)
    assert [name.split("/")[0] for name in names] == classes
    assert set(classes) == {"red", "blue"}


def test_what_is_missing_is_named(data, tmp_path):
    with pytest.raises(AnysizeError, match="cannot load"):
        msae.Clip(str(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        next(msae.pictures_of(tmp_path, "train", 3))
