"""
Qwen2.5-VL (arXiv 2502.13923), whose tower reads pictures of any size and whose positions have rows and columns.

Its tower merges 2 x 2 patches into a token (28 pixels square); what a budget pools is the grid of these. So that a
budget is a number known before, every picture is scaled to one grid (`set_grid`). A pooled grid has the positions
(M-RoPE) of a picture of so many tokens, and the text behind it goes on from its longer side.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from anysize.backbones.huggingface import pretrained
from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.prompts import Batch
from anysize.core.errors import AnysizeError


@dataclass(frozen=True)
class Prepares:
    """What prepares texts and pictures: the library's own for these models also wants what prepares films."""

    image_processor: Any
    tokenizer: Any
    image_token: str = "<|image_pad|>"

    @property
    def chat_template(self) -> str | None:
        """That of the tokenizer."""
        found: str | None = self.tokenizer.chat_template
        return found

    def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> str:
        """A conversation as a text."""
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, **options))

    def save_pretrained(self, folder: str) -> None:
        """Write both."""
        self.image_processor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


class QwenVision(VisionLanguage):
    """
    A `Qwen2_5_VLForConditionalGeneration` with its processor.

    Raises `AnysizeError` for another type of model, or a processor that was made for other patches.
    """

    model_type = "qwen2_5_vl"
    any_grid = True

    @staticmethod
    def prepares(folder: str | os.PathLike[str], **options: Any) -> Any:
        """What prepares texts and pictures, of a folder or hub name."""
        from transformers import AutoImageProcessor, AutoTokenizer

        return Prepares(pretrained(AutoImageProcessor, folder, **options), pretrained(AutoTokenizer, folder, **options))

    def _shape(self) -> tuple[int, ...]:
        return (16, 16)  # until `set_grid`

    def set_grid(self, shape: tuple[int, int]) -> None:
        """Scale every picture to so many rows and columns of tokens."""
        self.shape = shape

    def attach(self, processor: Any) -> None:
        """Give it what prepares texts and pictures. Raises `AnysizeError` if that was made for other patches."""
        pictures = processor.image_processor
        for what, mine, theirs in (
            ("patches", self.vision.patch_size, pictures.patch_size),
            ("merged patches", self.vision.spatial_merge_size, pictures.merge_size),
        ):
            if mine != theirs:
                raise AnysizeError(f"the processor cuts pictures in {what} of {theirs}, the model in {mine}")
        self.processor = processor

    # Pictures

    def pixels(self, pictures: Sequence[Any]) -> torch.Tensor:
        """Pillow images -> (n, patches, values of a patch), as the tower takes them."""
        found = self.processor.image_processor(list(map(self.seen, pictures)), do_resize=False, return_tensors="pt")
        return found["pixel_values"].unflatten(0, (len(pictures), -1)).to(self.device, self.dtype)

    def seen(self, shown: Any) -> Any:
        """A Pillow image as the tower is given it: scaled to the grid, whatever its aspect."""
        from PIL.Image import Resampling

        side = int(self.vision.patch_size) * int(self.vision.spatial_merge_size)
        rows, columns = self.shape
        return shown.resize((columns * side, rows * side), Resampling.BICUBIC)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """All tokens of each picture, (n, all, width): the one pass of the tower."""
        grids = self._grids([math.prod(self.shape)] * len(pixels))
        found = self.model.model.get_image_features(
            pixel_values=pixels.flatten(0, 1), image_grid_thw=grids, return_dict=True
        )
        return torch.stack(list(found.pooler_output))

    # The language model

    def _where(self, batch: Batch, kept: Sequence[torch.Tensor], *, generating: bool = False) -> dict[str, Any]:
        if not kept:
            return {} if generating else {"position_ids": batch.positions.expand(3, -1, -1)}
        return {
            "image_grid_thw": self._grids([len(one) for one in kept]),
            "mm_token_type_ids": (batch.ids == self.placeholder).int(),
        }

    def _grids(self, counts: Sequence[int]) -> torch.Tensor:
        """Times, rows and columns of patches of pictures in so many tokens, (n, 3)."""
        rows, columns = self.shape
        merge = int(self.vision.spatial_merge_size)
        found = []
        for count in counts:
            window = math.isqrt(rows * columns // count)
            found.append([1, rows // window * merge, columns // window * merge])
        return torch.tensor(found, device=self.device)

    # What it is made of

    def reads(self) -> tuple[int, int, int]:
        """Patches, pairs of them that attend to each other over all blocks, and tokens that they become."""
        vision, tokens = self.vision, math.prod(self.shape)
        patches, full = tokens * int(vision.spatial_merge_size) ** 2, len(vision.fullatt_block_indexes)
        window = min(patches, (int(vision.window_size) // int(vision.patch_size)) ** 2)
        return patches, full * patches**2 + (int(vision.depth) - full) * patches * window, tokens

    @property
    def projector(self) -> nn.Module:
        """What merges patches to tokens of the language model."""
        module: nn.Module = self.model.model.visual.merger
        return module

    @property
    def patch_width(self) -> int:
        """Refused: what merges its patches is a part of the tower."""
        raise AnysizeError(f"queries take a projector's place, and a {self.model_type} has none apart from its tower")

    @property
    def tower(self) -> nn.Module:
        """What sees the pictures, what merges its patches with it."""
        module: nn.Module = self.model.model.visual
        return module
