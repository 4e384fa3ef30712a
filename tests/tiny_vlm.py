"""Vision-language models with random weights, small enough to run a hundred times a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WORDS = [
    *("<pad>", "<s>", "</s>", "<unk>", "<image>", "what", "is", "there", "how", "many", "yes", "no"),
    *("one", "two", "three", "four", "red", "green", "blue"),
]


def tiny_tokenizer(words: list[str] = WORDS, image: str = "<image>") -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(
        models.WordLevel({word.replace("<image>", image): place for place, word in enumerate(words)}, unk_token="<unk>")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens={"image_token": image},
    )  # fmt: skip


def tiny_processor(side: int = 24, patch: int = 6, tokenizer: Any = None) -> Any:
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    pictures = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return LlavaProcessor(
        pictures, tokenizer or tiny_tokenizer(), patch_size=patch, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip


def tiny_llava(side: int = 24, patch: int = 6, *, seed: int = 0, **text: Any) -> tuple[Any, Any]:
    """A model and its processor; pictures have (side / patch)^2 tokens."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=side,
        patch_size=patch,
    )  # fmt: skip
    language = LlamaConfig(
        **{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
           "num_key_value_heads": 1, "vocab_size": len(WORDS), "max_position_embeddings": 64, "pad_token_id": 0,
           "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3} | text
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision.to_dict(), text_config=language.to_dict(), image_token_index=4,
        image_seq_length=(side // patch) ** 2, vision_feature_layer=-1,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config).eval(), tiny_processor(side, patch)


def drawn(count: int, side: int = 24, seed: int = 0) -> list[Any]:
    """Pictures of noise."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(count)]


def write_questions(folder: Path) -> None:
    """``vlm``, a model, and ``vqa.jsonl`` with pictures to ask about."""
    model, processor = tiny_llava()
    model.save_pretrained(folder / "vlm")
    processor.save_pretrained(folder / "vlm")
    (folder / "pictures").mkdir()
    rows = []
    for place, one in enumerate(drawn(40)):
        one.save(folder / "pictures" / f"{place}.png")
        word = ("red", "green", "blue", "one", "two")[place % 5]
        rows.append({"image": f"pictures/{place}.png", "question": f"what is there {word}", "answer": word})
    (folder / "vqa.jsonl").write_text("\n".join(map(json.dumps, rows)))


def tiny_qwen(*, seed: int = 0, **text: Any) -> tuple[Any, Any]:
    """A Qwen2.5-VL and its processor; a token is a square of 8 pixels, and windows have 2 x 2 tokens."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessorPil

    from anysize.backbones.vision.qwen import Prepares

    torch.manual_seed(seed)
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": 4,
              "window_size": 16, "out_hidden_size": 16, "fullatt_block_indexes": [1],
              "initializer_range": 0.3}  # fmt: skip
    language = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                "num_key_value_heads": 1, "vocab_size": len(WORDS), "max_position_embeddings": 64, "pad_token_id": 0,
                "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3,
                "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
                } | text  # fmt: skip
    config = Qwen2_5_VLConfig(
        vision_config=vision, text_config=language, image_token_id=4, video_token_id=3, vision_start_token_id=3,
        vision_end_token_id=3,
    )  # fmt: skip
    pictures = Qwen2VLImageProcessorPil(patch_size=4, size={"shortest_edge": 64, "longest_edge": 1 << 20})
    return Qwen2_5_VLForConditionalGeneration(config).eval(), Prepares(pictures, tiny_tokenizer(image="<|image_pad|>"))


def write_howto(folder: Path) -> None:
    """``vlm``, a model; ``howto``, documents and queries of words and pictures with judgements; and ``photo.png``."""
    model, processor = tiny_llava()
    model.save_pretrained(folder / "vlm")
    processor.save_pretrained(folder / "vlm")
    (folder / "howto" / "images").mkdir(parents=True)
    (folder / "howto" / "qrels").mkdir()
    lines: dict[str, list[str]] = {"corpus": [], "queries": [], "train": ["query-id\tcorpus-id\tscore"]}
    lines["test"] = [*lines["train"]]
    for place, (one, other) in enumerate(zip(drawn(20), drawn(20, seed=1), strict=True)):
        for name, key, shown in (("corpus", f"d{place}", one), ("queries", f"q{place}", other)):
            shown.save(folder / "howto" / "images" / f"{key}.png")
            parts = [{"text": ("red", "green", "blue", "one", "two")[place % 5]}, {"image": f"images/{key}.png"}]
            lines[name].append(json.dumps({"_id": key, "parts": parts}))
        lines["test" if place % 5 == 0 else "train"].append(f"q{place}\td{place}\t1")
    for name in ("corpus", "queries"):
        (folder / "howto" / f"{name}.jsonl").write_text("\n".join(lines[name]))
    for name in ("train", "test"):
        (folder / "howto" / "qrels" / f"{name}.tsv").write_text("\n".join(lines[name]))
    drawn(1, seed=2)[0].save(folder / "photo.png")
