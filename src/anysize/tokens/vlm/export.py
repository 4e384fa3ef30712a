"""
A model at one budget as transformers has it, so that it loads and runs without anysize.

With all tokens it is the LLaVA that it is. A pooled grid is a `PerceptionLMForConditionalGeneration`, whose projector
is LLaVA's followed by the same mean over windows. No model of transformers has queries in place of a projector.
"""

from __future__ import annotations

import copy
import math
import os
from typing import Any

import torch

from anysize.backbones.huggingface import pretrained
from anysize.backbones.vision.llava import VisionLanguage
from anysize.core.engine_checks import Check, Exported, apart, version_of
from anysize.core.errors import AnysizeError
from anysize.core.files import new_directory
from anysize.core.model.exporting import EXPORT, write_note
from anysize.core.quiet import quiet
from anysize.tokens.vlm.model import NestedVLM

OURS = "cut it in the format anysize"
BOUND = 1e-4
"""How far the logits of the written model may be from ours, relative to their length."""


def write(view: NestedVLM, path: str | os.PathLike[str]) -> Exported:
    """
    Write a view of pooled grids as a model of transformers, with what prepares texts and pictures.

    It is read back and compared with the view; where they differ, nothing is written. Raises `AnysizeError` then, and
    for queries or another pooling than the mean.
    """
    from transformers import AutoModelForImageTextToText

    lacking = (
        (view.vlm.any_grid, f"no {view.vlm.model_type} that pools its grid"),
        (view.spec["kind"] != "pool", "no model with queries in place of a projector"),
        (view.adapters is not None, "no model with these adapters"),
    )
    for lacks, what in lacking:
        if lacks:
            raise AnysizeError(f"transformers has {what}, so this one cannot be written; {OURS}")
    full = view.size.tokens == math.prod(view.vlm.shape)
    if not full and view.spec["mode"] != "avg":
        raise AnysizeError(f"transformers pools by the mean alone, and this model by {view.spec['mode']}; {OURS}")
    notes = () if full else ('it takes pictures as tiles: pixel_values = inputs["pixel_values"][:, None]',)
    with new_directory(path, marker=EXPORT) as directory, quiet():
        (view.net if full else pooled(view)).save_pretrained(str(directory))
        _processor(view).save_pretrained(str(directory))
        written = pretrained(AutoModelForImageTextToText, directory, dtype=view.vlm.dtype).eval()
        check = Check("transformers", version_of("transformers") or "", "logits", _apart(view, written, full), BOUND)
        readers = ("AutoModelForImageTextToText", "AutoProcessor")
        how = ", ".join(f'{reader}.from_pretrained("{path}")' for reader in readers)
        done = Exported("transformers", (check,), notes, how)
        write_note(directory, "transformers", {"fingerprint": view.fingerprint, "tokens": view.size.tokens}, done)
    return done


def _processor(view: NestedVLM) -> Any:
    """What prepares pictures and texts, with the placeholders of the view's size: those of larger patches."""
    made = copy.copy(view.vlm.processor)
    made.patch_size = made.patch_size * _window(view)
    return made


def _window(view: NestedVLM) -> int:
    return math.isqrt(math.prod(view.vlm.shape) // view.size.tokens)


def pooled(view: NestedVLM) -> Any:
    """The view as a `PerceptionLMForConditionalGeneration`."""
    from transformers import PerceptionLMConfig, PerceptionLMForConditionalGeneration

    config, vlm = view.net.config, view.vlm
    kept = _depth(vlm)
    vision = {**config.vision_config.to_dict(), "num_hidden_layers": kept}
    vision["model_args"] = {"embed_dim": config.vision_config.hidden_size}
    made = PerceptionLMConfig(
        vision_config=vision,
        text_config=config.text_config.to_dict(),
        vision_use_cls_token=config.vision_feature_select_strategy == "default",
        projector_pooling_ratio=_window(view),
        image_token_id=vlm.placeholder,
        tie_word_embeddings=config.tie_word_embeddings,
    )
    with quiet():
        model = PerceptionLMForConditionalGeneration(made).eval()
    state = {name: value for name, value in view.net.state_dict().items() if name in model.state_dict()}
    model.load_state_dict(state)
    model.tie_weights()
    return model


def _depth(vlm: VisionLanguage) -> int:
    """How many blocks of the tower the projector's input has behind it."""
    layer, depth = vlm.model.config.vision_feature_layer, int(vlm.vision.num_hidden_layers)
    if not isinstance(layer, int):
        raise AnysizeError("a projector that reads several layers of the tower is no model of transformers; " + OURS)
    return layer if layer >= 0 else depth + 1 + layer


@torch.no_grad()
def _apart(view: NestedVLM, written: Any, full: bool) -> float:
    """How far the logits of what was written are from the view's, for a picture of noise and a question."""
    vlm, side = view.vlm, int(view.vlm.vision.image_size)
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(vlm.device, vlm.dtype)
    batch = vlm.batch([vlm.prompt("what is there")], [[view.size.tokens]])
    mine = vlm.logits(batch, list(view.keep(vlm.encode(pixels), [view.size])[view.size]))
    shown = pixels if full else pixels[:, None]
    other = written.to(vlm.device)(input_ids=batch.ids, attention_mask=batch.mask, pixel_values=shown).logits
    return apart(other.cpu().float(), mine.cpu().float())
