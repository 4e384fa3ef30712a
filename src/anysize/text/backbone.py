"""
What runs under a nested encoder: tokenizer, transformer, and the layers after it that make one vector of a text.

Taken from any sentence-transformers model over a Hugging Face encoder. One pass gives the sentence vector after every
block asked for, each as the model cut at that block would give it, and stops at the deepest.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.huggingface import TOKENIZER, config_of, configuration, read_tokenizer
from anysize.core.quiet import quiet
from anysize.text import layers as layered
from anysize.text.cut_texts import say_cut
from anysize.text.window import Window

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU")


class Backbone(nn.Module):
    """
    A transformer, its `tail` (pooling, then perhaps dense layers) and its tokenizer.

    Raises `AnysizeError` if the transformer has no stack of blocks that can be cut.
    """

    def __init__(self, transformer: Any, tail: Sequence[nn.Module], settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.transformer = transformer
        self.tail = nn.ModuleList(tail)
        self.settings = dict(settings)
        """max_length (tokens), prompts, default_prompt: what sentence-transformers keeps beside the weights."""
        self.tokenizer: Any = None
        self.stack = layered.find_stack(transformer)
        known = inspect.signature(transformer.forward).parameters
        self._accepted = frozenset(known)

    @classmethod
    def of(cls, model: SentenceTransformer) -> Self:
        """
        The parts of a sentence-transformers model, shared with it.

        Raises `AnysizeError`, naming it, if a module is none that can follow a cut transformer.
        """
        from sentence_transformers.base.modules import Transformer

        first, *rest = model
        if not isinstance(first, Transformer):
            raise AnysizeError(
                f"this model begins with {type(first).__name__}; only models that begin with a transformer have layers"
            )
        tail = []
        for position, module in enumerate(rest):
            name = type(module).__name__
            if name == "Normalize" and position == len(rest) - 1:
                continue  # vectors are normalised after they are cut, never before
            if name not in ("Pooling", "Dense"):
                raise AnysizeError(f"cannot cut layers below a {name} module; supported are Pooling, Dense, Normalize")
            tail.append(module)
        settings = {
            "max_length": int(first.max_seq_length or 512),
            "prompts": dict(model.prompts or {}),
            "default_prompt": model.default_prompt_name,
        }
        backbone = cls(first.auto_model, tail, settings)
        backbone.tokenizer = first.tokenizer
        return backbone

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.stack.depth

    @property
    def width(self) -> int:
        """Length of the sentence vectors."""
        last: Any = self.tail[-1]
        return int(last.get_embedding_dimension())

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.parameters()).device

    @property
    def prompt(self) -> str:
        """What goes before every text."""
        return self.settings["prompts"].get(self.settings["default_prompt"]) or ""

    def say_cut(self, texts: Sequence[str]) -> None:
        """Tell on standard error how many texts are longer than the model reads."""
        say_cut(texts, self.tokenizer, self.settings["max_length"], self.prompt)

    def window(self) -> Window:
        """How much of a document it reads."""
        settings = self.settings
        return Window.of(self.tokenizer, settings["max_length"], settings["prompts"], settings["default_prompt"])

    def tokens(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Token ids and masks of some texts, cut at the model's limit and padded to the longest."""
        limit, prompt = self.settings["max_length"], self.prompt
        # Tokenising a text of a million characters only to drop nearly all of it would cost seconds.
        shorter = [prompt + text[: 20 * limit] for text in texts]
        batch = self.tokenizer(shorter, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return {name: value.to(self.device) for name, value in batch.items()}

    def forward(self, inputs: Mapping[str, Any], depths: Sequence[int]) -> dict[int, torch.Tensor]:
        """Sentence vectors (rows, width), not normalised, after each of these numbers of blocks: one pass."""
        return {depth: self.pool(state, inputs) for depth, state in self.states(inputs, depths).items()}

    def states(self, inputs: Mapping[str, Any], depths: Sequence[int]) -> dict[int, torch.Tensor]:
        """Token states (rows, tokens, hidden size) after each of these numbers of blocks: one pass."""
        given = {name: value for name, value in inputs.items() if name in self._accepted}
        if "use_cache" in self._accepted:
            given["use_cache"] = False
        return layered.tapped(self.transformer, given, sorted(set(depths)), self.stack)

    def pool(self, state: torch.Tensor, inputs: Mapping[str, Any]) -> torch.Tensor:
        """Token states (rows, tokens, width) to sentence vectors, through the tail."""
        features = {**inputs, "token_embeddings": state}
        for module in self.tail:
            features = module(features)
        return features["sentence_embedding"]

    # Costs

    def block_parameters(self) -> int:
        """Parameters of one block."""
        return sum(weight.numel() for weight in self.stack.blocks(self.transformer)[0].parameters())

    def other_parameters(self) -> int:
        """Parameters outside the blocks: embeddings, norms, dense layers."""
        blocks = sum(weight.numel() for weight in self.transformer.get_submodule(self.stack.path).parameters())
        return sum(weight.numel() for weight in self.parameters()) - blocks

    # In and out

    def config(self) -> dict[str, Any]:
        """Plain values from which `build` makes an untrained one; tokenizers go to a folder of their own."""
        return {
            "transformer": config_of(self.transformer),
            "tail": [_described(module) for module in self.tail],
            **self.settings,
        }

    @classmethod
    def build(cls, config: Mapping[str, Any], depth: int) -> Self:
        """An untrained backbone of that configuration with its first `depth` blocks; no code of a checkpoint runs."""
        from transformers import AutoModel

        full = configuration(config["transformer"])
        with quiet():
            transformer = AutoModel.from_config(layered.shortened(full, depth))
        settings = {name: config[name] for name in ("max_length", "prompts", "default_prompt")}
        return cls(transformer.eval(), [_module(dict(one)) for one in config["tail"]], settings)

    def save_tokenizer(self, directory: Path) -> None:
        """Write the tokenizer in its own format."""
        self.tokenizer.save_pretrained(str(directory / TOKENIZER))

    def load_tokenizer(self, directory: Path) -> None:
        """Attach what `save_tokenizer` wrote."""
        self.tokenizer = read_tokenizer(directory)

    def sentence_transformer(self, depth: int, dims: int) -> SentenceTransformer:
        """An ordinary sentence-transformers model with so many blocks and coordinates, which shares nothing."""
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer

        from anysize.text.export import cut_to

        with tempfile.TemporaryDirectory(prefix="anysize-") as scratch, quiet():
            layered.truncated(self.transformer, depth, self.stack).save_pretrained(scratch)
            self.tokenizer.save_pretrained(scratch)
            first = Transformer(scratch, max_seq_length=self.settings["max_length"])
            return SentenceTransformer(
                modules=[first, *cut_to(list(self.tail), self.width, dims)],
                device=str(self.device),
                prompts=self.settings["prompts"] or None,
                default_prompt_name=self.settings["default_prompt"],
            )


def _described(module: Any) -> dict[str, Any]:
    return {"type": type(module).__name__, **module.get_config_dict()}


def _module(config: dict[str, Any]) -> nn.Module:
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling

    kind = config.pop("type")
    if kind == "Pooling":
        return Pooling(**config)
    name = str(config.pop("activation_function", "Identity")).rpartition(".")[2]
    if kind != "Dense" or name not in ACTIVATIONS:
        raise CheckpointError(f"a layer of type {kind} with {name} is none that this version can build")
    known = {key: config[key] for key in ("in_features", "out_features", "bias") if key in config}
    return Dense(**known, activation_function=getattr(nn, name)())
