"""
Weights of the released forks of LLaVA-1.5: MQT-LLaVA (gordonhu608/MQT-LLaVA) and M3 (mu-cai/matryoshka-mm).

Both have the names of the original LLaVA, which transformers does not read. The table says where each belongs; a weight
that is in no row is refused, none is left out silently.

| released | here |
|---|---|
| ``model.embed_tokens``, ``model.layers``, ``model.norm`` | ``model.language_model...`` |
| ``lm_head`` | ``lm_head`` |
| ``model.vision_tower.vision_tower.vision_model`` | ``model.vision_tower`` |
| ``model.mm_projector.0``, ``.2`` (M3) | ``model.multi_modal_projector.linear_1``, ``linear_2`` |
| ``model.query_abstractor`` (MQT: query, attn, ln_q, ln_k, ln_v, proj) | ``model.multi_modal_projector`` |
| ``model.query_abstractor.pos_embed`` (MQT) | computed; checked to be the same |

The forks have no token for a picture: one is added to the vocabulary, whose output is the mean of the others. The keys
of MQT were trained on positions alone, so `key_source` is ``position``, with 256 queries of 16 heads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from anysize.backbones.huggingface import opening, pretrained
from anysize.backbones.vision.llava import VisionLanguage
from anysize.core.errors import CheckpointError
from anysize.core.files import read_object
from anysize.core.quiet import quiet
from anysize.core.sizes.nesting import Nesting
from anysize.tokens.budget.queries import sincos
from anysize.tokens.vlm.fit import usual
from anysize.tokens.vlm.model import NestedVLM

_MOVED = (
    ("model.vision_tower.vision_tower.vision_model.", "model.vision_tower."),
    ("model.query_abstractor.", "model.multi_modal_projector."),
    ("model.mm_projector.0.", "model.multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "model.multi_modal_projector.linear_2."),
    ("model.embed_tokens.", "model.language_model.embed_tokens."),
    ("model.layers.", "model.language_model.layers."),
    ("model.norm.", "model.language_model.norm."),
    ("lm_head.", "lm_head."),
)
_PASSED = ("position_ids", "rotary_emb.inv_freq")  # buffers of older versions, computed anew
_VOCABULARY = ("model.language_model.embed_tokens.weight", "lm_head.weight")
HEADS = 16
VICUNA = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions. USER: {% for part in messages[0]['content'] %}"
    "{{ '<image>\\n' if part['type'] == 'image' else part['text'] }}{% endfor %} ASSISTANT:"
)
"""How LLaVA-1.5 puts a question."""
MQT_SIZES = (2, 4, 8, 16, 36, 64, 144, 256)
"""What MQT's paper measures."""


def place_of(name: str) -> str | None:
    """Where a released weight belongs; None for a buffer that is computed anew. Raises `CheckpointError` if nowhere."""
    if name.endswith(_PASSED):
        return None
    for before, after in _MOVED:
        if name.startswith(before):
            return after + name.removeprefix(before)
    raise CheckpointError(f"{name} belongs to no part of a released MQT or M3 model")


def open_released(folder: str | os.PathLike[str], tower: str | os.PathLike[str]) -> NestedVLM:
    """
    A released MQT or M3 checkpoint (a folder), with the CLIP tower (a folder or hub name) that it was trained on.

    Weights of the tower in the checkpoint (M3 trained it) win. Pickled weights are read by torch's restricted reader.
    Raises `CheckpointError` if a weight is missing, unknown or of another shape.
    """
    path = Path(folder)
    config = read_object(path / "config.json", "a released model")
    state: dict[str, torch.Tensor] = {}
    table: torch.Tensor | None = None
    for name, value in _weights(path):
        if name == "model.query_abstractor.pos_embed":
            table = value
        elif (place := place_of(name)) is not None:
            state[place] = _one_more(value.float()) if place in _VOCABULARY else value.float()
    vlm = _empty(config, path, tower)
    queries = state.get("model.multi_modal_projector.query")
    if queries is None:
        model = NestedVLM(Nesting(tokens=usual(vlm.shape)), vlm, {"kind": "pool", "mode": "avg"})
    else:
        listed = tuple(size for size in MQT_SIZES if size < len(queries))
        spec = {"kind": "queries", "queries": len(queries), "heads": HEADS, "key_source": "position"}
        model = NestedVLM(Nesting(tokens=(*listed, len(queries)), open=("tokens",)), vlm, spec)
        if table is not None and not torch.allclose(table.float(), sincos(queries.shape[1], round(len(table) ** 0.5))):
            raise CheckpointError(f"{path} has positions of queries that are no sines and cosines")
    there = model.net.state_dict()
    towers = {name for name in there if name.startswith("model.vision_tower.")}
    missing = there.keys() - state.keys() - towers
    wrong = [name for name, value in state.items() if name not in there or there[name].shape != value.shape]
    for what, names in (("lacks", missing), ("has, in another shape than it says,", wrong)):
        if names:
            raise CheckpointError(f"{path} {what} {min(names)} and {len(names) - 1} more")
    model.net.load_state_dict(state, strict=False)
    model.about = {"released": path.name}
    return model.eval()


def _weights(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors.torch import load_file

    for file in sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin")):
        yield from (load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)).items()


def _one_more(rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows, rows.mean(0, keepdim=True)])


def _empty(config: Mapping[str, Any], folder: Path, tower: str | os.PathLike[str]) -> VisionLanguage:
    """A LLaVA of that shape with the tower's own weights, and what prepares texts and pictures where it is there."""
    from transformers import AutoModel, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    with opening("vision tower", tower):
        seer = pretrained(AutoModel, tower, dtype=torch.float32)
    seer = getattr(seer, "vision_model", seer)
    known = {name: config[name] for name in LlamaConfig().to_dict() if name in config and name != "model_type"}
    words = int(config["vocab_size"])
    full = LlavaConfig(
        vision_config=seer.config.to_dict(), text_config=LlamaConfig(**{**known, "vocab_size": words + 1}).to_dict(),
        image_token_index=words, vision_feature_layer=int(config["mm_vision_select_layer"]),
    )  # fmt: skip
    with quiet():
        model = LlavaForConditionalGeneration(full)
    model.model.vision_tower.load_state_dict(seer.state_dict())
    return VisionLanguage(model.eval(), _processor(folder, tower, seer.config.patch_size, words))


def _processor(folder: Path, tower: str | os.PathLike[str], patch: int, placeholder: int) -> Any:
    """What prepares texts and pictures; None where the checkpoint has no tokenizer."""
    from transformers import AutoImageProcessor, AutoTokenizer, LlavaProcessor

    if not (folder / "tokenizer_config.json").exists():
        return None
    tokenizer = pretrained(AutoTokenizer, folder)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>"]})
    if tokenizer.convert_tokens_to_ids("<image>") != placeholder:
        raise CheckpointError(f"the tokenizer in {folder} has not the {placeholder} tokens that the model has")
    return LlavaProcessor(
        pretrained(AutoImageProcessor, tower), tokenizer, patch_size=patch, vision_feature_select_strategy="default",
        chat_template=VICUNA, num_additional_image_tokens=1,
    )  # fmt: skip
