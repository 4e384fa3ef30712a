"""
Sentence encoders nested in depth and width: 2DMSE (Li et al. 2024, arXiv 2402.14776) and what follows from it.

A size says how many transformer blocks run and how many coordinates are kept. A smaller one really skips the blocks,
and loading at a depth reads only the blocks of that depth.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch.nn import functional

from anysize.backbones.blocks import check_layers
from anysize.backbones.layered import Backbone
from anysize.backbones.leaving import each
from anysize.backbones.sentence import Encoder, encode_distinct
from anysize.backbones.texts.window import Window
from anysize.core.arguments import FLAG, PATH, TEXTS, expect, takes, whole
from anysize.core.errors import DataError, SizeError
from anysize.core.losses.head import as_tensor
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.model.manifest import MANIFEST
from anysize.core.sides import Side, TwoSided, side_of
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOKENS = 128
"""The length of text for which FLOPs are counted."""


class NestedEncoder(TwoSided, NestedModel):
    """
    Embeds texts with the first blocks of a transformer and the first coordinates of what they give.

    Vectors are cut first and normalised after, so every size has unit length. Raises `SizeError` if the nesting is
    not in layers and dims, or exceeds the model.
    """

    kind = "encoder"
    reads = ("text",)
    evaluators = ("retrieval", "similarity", "neighbours")
    rivals: ClassVar[Mapping[str, str]] = {
        "truncate": "anysize.text.depth.rivals:truncate",
        "pca": "anysize.text.depth.rivals:pca",
        "single": "anysize.core.verbs.rivals:single",
        "original": "anysize.text.depth.rivals:original",
    }
    usual = ("truncate", "pca")
    mixes_sizes = True
    exports: ClassVar[Mapping[str, str]] = {"sentence-transformers": "anysize.text.embedder.export:write"}
    converts: ClassVar[Mapping[str, str]] = {
        "sentence-transformers": "anysize.text.depth.model:NestedEncoder.sentence_transformer"
    }
    times_encoding = True
    """Whether a size decides how long a text takes to encode."""

    def __init__(self, nesting: Nesting, backbone: Backbone) -> None:
        super().__init__(nesting)
        if set(nesting.axes) != {"layers", "dims"}:
            raise SizeError(f"a sentence encoder is nested in layers and dims; got {', '.join(nesting.axes)}")
        check_layers(backbone.stack, nesting.values("layers"))
        if nesting.full.dims > backbone.width:
            raise SizeError(f"dims={nesting.full.dims} exceeds the model, whose embeddings have {backbone.width}")
        self.encoder = backbone
        self.rotations: dict[int, torch.Tensor] = {}
        """Layer -> directions (width, width) to turn its vectors to before they are cut; a rival uses it (PCA)."""

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str] | SentenceTransformer,
        *,
        layers: Iterable[int] | None = None,
        dims: Iterable[int] | None = None,
        sizes: Nesting | None = None,
    ) -> Self:
        """
        A saved nested encoder, or any sentence-transformers model with the sizes declared here.

        `layers` and `dims` make a grid (an axis that is not named has its full value alone); `sizes` is any nesting of
        the two. A plain model can be cut everywhere, but nothing has trained it to be good there.
        Raises `SizeError` if sizes are declared for a model that carries its own, or for none that does not.
        """
        if not isinstance(path, torch.nn.Module):
            path = expect(path, PATH, "from_pretrained: path")
        declared = layers is not None or dims is not None or sizes is not None
        if not isinstance(path, str | os.PathLike):
            return cls._declare(Encoder(path), layers, dims, sizes)
        if (Path(path) / MANIFEST).exists():
            if declared:
                raise SizeError(f"{os.fspath(path)} carries its own sizes; leave out layers, dims and sizes")
            return cls.load(path)
        if not declared:
            raise SizeError(f"{os.fspath(path)} does not say its sizes; give layers and dims, as layers=(2, 4, 6)")
        return cls._declare(Encoder(os.fspath(path)), layers, dims, sizes)

    @classmethod
    def _declare(
        cls, source: Encoder, layers: Iterable[int] | None, dims: Iterable[int] | None, sizes: Nesting | None
    ) -> Self:
        if sizes is not None and (layers is not None or dims is not None):
            raise SizeError("give either sizes, or layers and dims; not both")
        backbone = Backbone.of(source.model)
        if sizes is None:
            depths = (backbone.depth,) if layers is None else tuple(layers)
            sizes = Nesting(layers=depths, dims=(backbone.width,) if dims is None else tuple(dims))
        model = cls(sizes, backbone)
        model.about = {"options": {"model": source.name}}
        return model.eval()

    # Running

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of the nesting."""
        return self.nesting.values("layers")

    @property
    def origin(self) -> tuple[object, ...]:
        """Models of one origin have the same `features`."""
        return (id(self.encoder), self.depths)

    @takes(texts=TEXTS, batch_size=whole(), progress=FLAG, bf16=FLAG)
    @torch.no_grad()
    def taps(
        self,
        texts: Sequence[str],
        depths: Sequence[int],
        *,
        side: Side | None = None,
        batch_size: int = 64,
        progress: bool = False,
        bf16: bool = False,
    ) -> np.ndarray:
        """
        Sentence vectors, not normalised, after each depth (increasing): float32, shape (n, depths, width).

        With a `side`, behind the prompt of that side of a search; without one behind the default prompt, if any.
        """
        side = side or side_of(texts)
        if len(texts) == 0:
            return np.zeros((0, len(depths), self.encoder.width), dtype=np.float32)

        def run(batch: list[str]) -> np.ndarray:
            inputs = self.encoder.tokens(batch, self.encoder.prompt(side))
            with torch.autocast(self.encoder.device.type, torch.bfloat16, enabled=bf16):
                by_depth = self.encoder(inputs, depths)
            return torch.stack([by_depth[depth].float() for depth in depths], dim=1).cpu().numpy()

        if progress:
            self.encoder.say_cut(texts, side)
        return encode_distinct(texts, run, self.window(side).lengths, batch_size=batch_size, progress=progress)

    def run_mixed(self, items: Any, sizes: Sequence[Size], *, side: Side | None = None) -> list[Any]:
        """One pass for all sizes, in which each text runs through no more blocks than its own sizes need."""
        wanted: dict[str, set[int]] = {}
        for text, size in zip(items, sizes, strict=True):
            wanted.setdefault(text, set()).add(size.layers)
        taps = each(self.encoder, wanted, side or side_of(items))
        with torch.no_grad():
            return [
                self._cut(taps[text, size.layers][None], size.layers, size.dims)[0].numpy()
                for text, size in zip(items, sizes, strict=True)
            ]

    def window(self, side: Side | None = "document") -> Window:
        """How much of a text it reads, behind the prompt of this side."""
        return self.encoder.window(side)

    def features(self, inputs: Sequence[str], **options: Any) -> np.ndarray:
        """What every size is cut from, shape (n, depths of the nesting, width); options as for `taps`."""
        return self.taps(inputs, self.depths, **options)

    @torch.no_grad()
    def project(self, features: np.ndarray, dims: int | None = None, *, normalize: bool = True) -> np.ndarray:
        """`features` to embeddings (n, dims) at this view's size, of unit length unless told otherwise."""
        taps = as_tensor(features[:, self.depths.index(self.size.layers)])
        return self._cut(taps, self.size.layers, dims or self.size.dims, normalize).numpy()

    @takes(inputs=TEXTS)
    def encode(self, inputs: Sequence[str], *, sizes: Iterable[Size | str] | None = None, **options: Any) -> Any:
        """
        Unit embeddings at this view's size: float32, shape (n, dims). Runs `size.layers` blocks, no more.

        With `sizes`, a dict of them by size, all from one pass. Options: side, batch_size, progress, bf16.
        """
        asked = [self.size] if sizes is None else self.nesting.resolve_all(sizes)
        depths = sorted({size.layers for size in asked})
        taps = self.taps(inputs, depths, **options)
        with torch.no_grad():
            cut = {
                size: self._cut(as_tensor(taps[:, depths.index(size.layers)]), size.layers, size.dims).numpy()
                for size in asked
            }
        return cut[self.size] if sizes is None else cut

    @takes(example=TEXTS)
    def _outputs(self, example: Sequence[str], asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Every size from one pass that stops at the deepest; of `SidedTexts`, on the side that they name."""
        if not len(example):
            raise DataError("there is nothing to run on; give at least one text")
        inputs = self.encoder.tokens(list(example), self.encoder.prompt(side_of(example)))
        found = self.encoder(inputs, [size.layers for size in asked])
        return {size: self._cut(found[size.layers], size.layers, size.dims) for size in asked}

    def _cut(self, vectors: torch.Tensor, depth: int, dims: int, normalize: bool = True) -> torch.Tensor:
        if depth in self.rotations:
            vectors = vectors @ self.rotations[depth][:dims].T
        return functional.normalize(vectors[:, :dims], dim=-1) if normalize else vectors[:, :dims]

    # The contract

    def cost(self) -> Cost:
        """Bytes of one stored float32 embedding; parameters and FLOPs (a text of 128 tokens) up to this depth."""
        blocks = self.size.layers * self.encoder.block_parameters()
        hidden = self.encoder.transformer.config.hidden_size
        attention = 4 * TOKENS * hidden * self.size.layers  # scores and their weighted sums, per token
        return Cost(
            bytes=4 * self.size.dims,
            parameters=blocks + self.encoder.other_parameters(),
            flops=TOKENS * (2 * blocks + attention),
        )

    def sentence_transformer(self) -> SentenceTransformer:
        """A sentence-transformers model of this view's depth and width; it shares nothing."""
        size = self.size
        dims = [one.dims for one in self.nesting if one.layers == size.layers and one.dims <= size.dims]
        return self.encoder.sentence_transformer(size.layers, dims)

    def config(self) -> dict[str, Any]:
        """The transformer's configuration and what follows it."""
        return self.encoder.config()

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Self:
        """An untrained encoder with the blocks that the nesting needs."""
        return cls(nesting, Backbone.build(config, nesting.full.layers))

    def owned_tensors(self) -> dict[str, Size]:
        """Each block belongs to the shallowest depth that runs it."""
        prefix = f"encoder.transformer.{self.encoder.stack.path}."
        owned = {}
        for name in self.state_dict():
            if name.startswith(prefix):
                block = int(name.removeprefix(prefix).partition(".")[0]) + 1
                depth = next((depth for depth in self.depths if depth >= block), None)
                if depth is not None:
                    owned[name] = Size(layers=depth)
        return owned

    def saved_state(self) -> dict[str, torch.Tensor]:
        """All weights but those of blocks deeper than any size."""
        prefix, deepest = f"encoder.transformer.{self.encoder.stack.path}.", self.nesting.full.layers
        return {
            name: value
            for name, value in self.state_dict().items()
            if not name.startswith(prefix) or int(name.removeprefix(prefix).partition(".")[0]) < deepest
        }

    def save_parts(self, directory: Path) -> None:
        """The tokenizer."""
        self.encoder.save_tokenizer(directory)

    def load_parts(self, directory: Path) -> None:
        """The tokenizer."""
        self.encoder.load_tokenizer(directory)

    def take_parts(self, whole: Self) -> None:
        """The tokenizer, and the directions of a rival."""
        self.encoder.tokenizer, self.rotations = whole.encoder.tokenizer, dict(whole.rotations)
