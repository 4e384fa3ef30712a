"""
A vision-language model of Hugging Face whose tower runs apart from its language model.

`encode` runs the tower and the projector once; `logits` and `generate` take what it gave, in as many tokens as the
caller keeps, through ``mm_encoder_outputs`` of transformers. No forward of the model is replaced.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anysize.backbones.huggingface import pretrained
from anysize.backbones.vision.prompts import Batch, Prompt, batched, read_prompt
from anysize.backbones.vision.telling import telling
from anysize.core.errors import AnysizeError, refused_as_damaged
from anysize.core.quiet import quiet

PROCESSOR = "processor"
"""Folder, beside our weights, of what prepares texts and pictures, in its own format."""

QUESTION = "<image>\n{question}\n"
"""How a question is put to a model that says nothing itself."""


class VisionLanguage:
    """
    A `LlavaForConditionalGeneration` with its processor: any tower and any language model that it holds.

    Raises `AnysizeError` for another type of model, or a processor that was made for other patches.
    """

    model_type = "llava"
    """The type of model, as transformers names it."""

    any_grid = False
    """Whether the tower reads pictures of any size, so that `set_grid` says of which."""

    def __init__(self, model: Any, processor: Any = None) -> None:
        if model.config.model_type != self.model_type:
            raise AnysizeError(f"a model of type {model.config.model_type!r} is no {self.model_type}")
        self.model = model
        self.shape = self._shape()
        """How the tokens of a picture lie before any budget: rows and columns."""
        self.processor: Any = None
        if processor is not None:
            self.attach(processor)

    @staticmethod
    def prepares(folder: str | os.PathLike[str], **options: Any) -> Any:
        """What prepares texts and pictures, of a folder or hub name."""
        from transformers import AutoProcessor

        return pretrained(AutoProcessor, folder, **options)

    def read_processor(self, directory: Path) -> None:
        """Attach the processor of a saved model. Raises `CheckpointError` if it cannot be read."""
        with refused_as_damaged(f"what prepares pictures and texts in {directory} cannot be read"):
            found = self.prepares(directory / PROCESSOR, local_files_only=True)
        self.attach(found)

    def _shape(self) -> tuple[int, ...]:
        side = int(self.vision.image_size) // int(self.vision.patch_size)
        return (side, side)

    def set_grid(self, shape: tuple[int, int]) -> None:
        """Scale pictures to so many rows and columns of tokens. Raises `AnysizeError` where the tower has one size."""
        raise AnysizeError(f"a {self.model_type} sees pictures of one size, in {math.prod(self.shape)} tokens")

    def attach(self, processor: Any) -> None:
        """Give it what prepares texts and pictures. Raises `AnysizeError` if that was made for other patches."""
        patch, theirs = int(self.vision.patch_size), getattr(processor, "patch_size", None)
        if theirs is not None and theirs != patch:
            raise AnysizeError(f"the processor cuts pictures in patches of {theirs} pixels, the model in {patch}")
        self.processor = processor

    # Pictures

    def pixels(self, pictures: Sequence[Any]) -> torch.Tensor:
        """Pillow images -> (n, 3, rows, columns), as the tower takes them."""
        values = self.processor.image_processor(list(pictures), return_tensors="pt")["pixel_values"]
        made, wanted = tuple(values.shape[-2:]), int(self.vision.image_size)
        if made != (wanted, wanted):
            raise AnysizeError(
                f"the processor makes pictures of {made[0]} x {made[1]} pixels, and the model sees {wanted} x {wanted}"
            )
        found: torch.Tensor = values.to(self.device, self.dtype)
        return found

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """
        All tokens of each picture after the projector, (n, all, width): the one pass of the tower.

        Raises `AnysizeError` if they are not as many as `shape` has, for example because of a class token.
        """
        found = self.model.model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
        if len(found[0]) != math.prod(self.shape):
            raise AnysizeError(
                f"the tower gives {len(found[0])} tokens a picture, which are no {' x '.join(map(str, self.shape))}; "
                'a class token is left out by vision_feature_select_strategy="default"'
            )
        return torch.stack(list(found))

    def seen(self, shown: Any) -> Any:
        """A Pillow image as the tower is given it, cut and scaled: a Pillow image again."""
        from PIL import Image

        prepare, values = self.processor.image_processor, self.pixels([shown])[0].float().cpu()
        if prepare.do_normalize:
            values = values * torch.tensor(prepare.image_std)[:, None, None]
            values = values + torch.tensor(prepare.image_mean)[:, None, None]
        return Image.fromarray((values.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())

    # Questions

    def prompt(self, question: str, *, pictures: int = 1, answer: str | None = None) -> Prompt:
        """A question about one picture or several, as the model's chat template puts it."""
        plain = question.replace(self.image_token, "").strip()
        template = getattr(self.processor, "chat_template", None)
        if template:
            content = [*({"type": "image"} for _ in range(pictures)), {"type": "text", "text": plain}]
            text = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
        else:
            text = QUESTION.format(question=plain).replace("<image>", self.image_token * pictures)
        return read_prompt(self.tokenizer, text, self.placeholder, pictures=pictures, answer=answer)

    def batch(self, prompts: Sequence[Prompt], counts: Sequence[Sequence[int]], *, room: int = 0) -> Batch:
        """Prompts side by side; `room` tokens are left for what is generated."""
        made = batched(prompts, counts, self.placeholder, self.filler, self.longest, room)
        return Batch(*(part.to(self.device) for part in made))

    # The language model

    def logits(self, batch: Batch, kept: Sequence[torch.Tensor], last: int = 0) -> torch.Tensor:
        """
        (n, tokens, vocabulary), of the last `last` tokens if not 0; `kept` holds each picture's tokens (count, width).

        Raises `AnysizeError` if the pictures' tokens are not as many as their placeholders.
        """
        found = self.model(
            input_ids=batch.ids, attention_mask=batch.mask, use_cache=False, logits_to_keep=last,
            mm_encoder_outputs=self._given(batch, kept), **self._where(batch, kept),
        )  # fmt: skip
        logits: torch.Tensor = found.logits
        return logits

    def hidden(self, batch: Batch, kept: Sequence[torch.Tensor]) -> torch.Tensor:
        """(n, tokens, width): what the language model's last block gives at each token; `kept` as for `logits`."""
        found = self.model.model(
            input_ids=batch.ids, attention_mask=batch.mask, use_cache=False,
            mm_encoder_outputs=self._given(batch, kept), **self._where(batch, kept),
        )  # fmt: skip
        hidden: torch.Tensor = found.last_hidden_state
        return hidden

    @torch.no_grad()
    def generate(
        self,
        batch: Batch,
        kept: Sequence[torch.Tensor],
        max_new_tokens: int,
        first: Callable[[], None] | None = None,
        told: Callable[[str], None] | None = None,
    ) -> list[str]:
        """
        What it answers, the likeliest token at every step; `first` is called once there is one of each answer, `told`
        after each token with all of one answer so far.
        """

        def spoken(ids: torch.Tensor) -> list[str]:
            new = ids[:, batch.ids.shape[1] :]
            return [text.strip() for text in self.tokenizer.batch_decode(new, skip_special_tokens=True)]

        each = None if told is None else (lambda ids: told(spoken(ids)[0]))
        with quiet():
            ids = self.model.generate(
                input_ids=batch.ids, attention_mask=batch.mask, mm_encoder_outputs=self._given(batch, kept),
                max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, pad_token_id=self.filler,
                eos_token_id=self.tokenizer.eos_token_id, stopping_criteria=telling(first, each),
                **self._where(batch, kept, generating=True),
            )  # fmt: skip
        return spoken(ids)

    def _where(self, batch: Batch, kept: Sequence[torch.Tensor], *, generating: bool = False) -> dict[str, Any]:
        """What says where tokens stand: their positions, which the library counts by itself when it generates."""
        return {} if generating else {"position_ids": batch.positions}

    def _given(self, batch: Batch, kept: Sequence[torch.Tensor]) -> dict[str, Any] | None:
        """What stands for the pictures; made anew for each call, since the library writes into it."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        places, there = int((batch.ids == self.placeholder).sum()), sum(map(len, kept))
        if places != there:
            raise AnysizeError(f"the pictures have {there} tokens, and the questions have room for {places}")
        if not kept:
            return None
        return {"image": BaseModelOutputWithPooling(pooler_output=list(kept))}  # type: ignore[arg-type]  # a tensor for each picture

    # What it is made of

    def reads(self) -> tuple[int, int, int]:
        """Tokens that the tower reads, pairs that attend to each other over all blocks, and what it gives on."""
        patches = (int(self.vision.image_size) // int(self.vision.patch_size)) ** 2
        return patches + 1, int(self.vision.num_hidden_layers) * (patches + 1) ** 2, patches

    @property
    def tower(self) -> nn.Module:
        """What sees the pictures."""
        module: nn.Module = self.model.model.vision_tower
        return module

    @property
    def language(self) -> nn.Module:
        """What writes, without its output layer."""
        module: nn.Module = self.model.model.language_model
        return module

    @property
    def projector(self) -> nn.Module:
        """What makes the tower's patches tokens of the language model."""
        module: nn.Module = self.model.model.multi_modal_projector
        return module

    @property
    def patch_width(self) -> int:
        """How wide the patches are that a projector is given. Raises `AnysizeError` if there cannot be another one."""
        layers = self.model.config.vision_feature_layer
        return int(self.vision.hidden_size) * (1 if isinstance(layers, int) else len(layers))

    def set_projector(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        """Put another projector in its place, whose tokens lie as `shape` says."""
        self.model.model.multi_modal_projector = module
        self.shape = shape

    @property
    def tokenizer(self) -> Any:
        """Of the language model."""
        return self.processor.tokenizer

    @property
    def longest(self) -> int | None:
        """How many tokens the language model reads; None if any number."""
        found: int | None = getattr(self.text, "max_position_embeddings", None)
        return found

    @property
    def text(self) -> Any:
        """The configuration of the language model."""
        return self.model.config.text_config

    @property
    def vision(self) -> Any:
        """The configuration of the tower."""
        return self.model.config.vision_config

    @property
    def image_token(self) -> str:
        """What stands for a picture in a text."""
        return str(self.processor.image_token)

    @property
    def placeholder(self) -> int:
        """Its id."""
        return int(self.model.config.image_token_id)

    @property
    def filler(self) -> int:
        """The id that fills up a row."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id or 0)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(iter(self.model.parameters())).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the tower."""
        return next(iter(self.tower.parameters())).dtype
