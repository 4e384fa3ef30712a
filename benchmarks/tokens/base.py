"""
A small vision-language model that answers at full budget, from which every arm begins: the first stage of LLaVA.

The tower first learns to say of each patch which digit it is and where it lies; then all parts together learn to answer
several questions about a picture in one sequence, with all tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.core.files import new_directory
from benchmarks.tokens.digits import CELLS, PIXELS, SIDE, WORDS, Composites, ask, composites

WIDTH, BLOCKS, HEADS = 64, 2, 4
TOGETHER = 8
"""Questions about a picture in one sequence."""
MIXED = ("which", "which", "which", "many", "any", "full")
IDS = {word: place for place, word in enumerate(WORDS)}
MARKER = "base.json"


def base(folder: Path, seed: int, *, warm: int = 150, steps: int = 1500, batch: int = 64, pictures: int = 6000) -> Path:
    """The folder of the trained model with its processor, made there if it is not."""
    if (folder / MARKER).exists():
        return folder
    torch.manual_seed(seed)
    made = composites(pictures, test=False, seed=seed)
    model = model_of()
    _warm(model, made, warm, seed)
    losses = _learn(model, made, steps, batch, seed)
    with new_directory(folder, marker=MARKER) as target:
        model.save_pretrained(str(target))
        processor().save_pretrained(str(target))
        (target / MARKER).write_text(json.dumps({"seed": seed, "warm": warm, "steps": steps, "losses": losses}))
    return folder


def processor(ids: Mapping[str, int] = IDS) -> Any:
    """What prepares pictures of `SIDE` pixels and texts of known words, a token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(dict(ids), unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        pictures, tokenizer, patch_size=PIXELS, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )


def model_of(ids: Mapping[str, int] = IDS) -> Any:
    """A LLaVA of random weights that knows these words."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    common: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": BLOCKS,
              "num_attention_heads": HEADS}  # fmt: skip
    vision = CLIPVisionConfig(**common, image_size=SIDE, patch_size=PIXELS)
    language = LlamaConfig(
        **common, num_key_value_heads=HEADS, vocab_size=len(ids), max_position_embeddings=512, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    joint: dict[str, Any] = {"image_seq_length": CELLS**2, "initializer_range": WIDTH**-0.5}
    config = LlavaConfig(
        vision_config=vision.to_dict(), text_config=language.to_dict(), image_token_index=ids["<image>"],
        vision_feature_layer=-1, **joint,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config)


def _pixels(made: Composites) -> torch.Tensor:
    prepare = processor().image_processor
    rgb = [np.repeat(one[..., None], 3, 2) for one in made.pictures]
    return prepare(rgb, return_tensors="pt")["pixel_values"]


def _warm(model: Any, made: Composites, steps: int, seed: int) -> None:
    pixels, digits = _pixels(made), torch.from_numpy(made.digits % 11).flatten(1)
    what, where = torch.nn.Linear(WIDTH, 11), torch.nn.Linear(WIDTH, CELLS**2)
    tower, rng = model.model.vision_tower, np.random.default_rng([seed, 1])
    weights = [*tower.parameters(), *what.parameters(), *where.parameters()]
    optimizer, places = torch.optim.AdamW(weights, 1e-3), torch.arange(CELLS**2)
    for _ in range(steps):
        rows = rng.integers(0, len(pixels), 64)
        seen = tower(pixels[rows], output_hidden_states=True).hidden_states[-1][:, 1:].flatten(0, 1)
        loss = functional.cross_entropy(what(seen), digits[rows].flatten())
        loss = loss + functional.cross_entropy(where(seen), places.repeat(64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _learn(model: Any, made: Composites, steps: int, batch: int, seed: int) -> list[float]:
    pixels, rng, losses = _pixels(made), np.random.default_rng([seed, 2]), []
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * (1 - step / steps) + 1e-5
        rows = rng.integers(0, len(pixels), batch)
        ids, labels = _sequences(made, rows, rng)
        logits = model(input_ids=ids, pixel_values=pixels[rows], use_cache=False).logits[:, :-1]
        asked = labels[:, 1:] >= 0
        loss = functional.cross_entropy(logits[asked], labels[:, 1:][asked])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return [float(np.mean(part)) for part in np.array_split(losses, min(20, steps))]


def _sequences(made: Composites, rows: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels (n, tokens) of several questions about each picture, one after the other."""
    found = []
    for row in rows:
        ids, labels = [IDS["<image>"]] * CELLS**2, [-100] * CELLS**2
        for _ in range(TOGETHER):
            pair = None
            while pair is None:
                pair = ask(MIXED[int(rng.integers(len(MIXED)))], made.pictures[row], made.digits[row], rng)
            question, answer = [IDS[word] for word in pair[0].split()], [IDS[pair[1]], IDS["</s>"]]
            ids, labels = ids + question + answer, labels + [-100] * len(question) + answer
        found.append((ids, labels))
    longest = max(len(ids) for ids, _ in found)
    padded = [[*ids, *[0] * (longest - len(ids))] for ids, _ in found]
    wanted = [[*labels, *[-100] * (longest - len(labels))] for _, labels in found]
    return torch.tensor(padded), torch.tensor(wanted)
