"""
What runs under a nested encoder: tokenizer, transformer, and the layers after it that make one vector of a text.

Taken from any sentence-transformers model over a Hugging Face encoder. One pass gives the sentence vector after every
block asked for, each as the model cut at that block would give it, and stops at the deepest.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from anysize.backbones import blocks as layered
from anysize.backbones.cut import assembled, cut_to
from anysize.backbones.huggingface import TOKENIZER, config_of, configuration, read_tokenizer
from anysize.backbones.tail import described, finish, module_of, pooled, tail_of
from anysize.backbones.texts.batching import readable
from anysize.backbones.texts.cut_texts import say_cut
from anysize.backbones.texts.prompts import prompt_of
from anysize.backbones.texts.window import Window
from anysize.core.errors import AnysizeError
from anysize.core.quiet import quiet
from anysize.core.scratch import temporary_folder
from anysize.core.sides import Side

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

READS = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
"""How sentence-transformers calls a transformer that reads plain texts and gives the states of their tokens."""


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
        """
        What sentence-transformers keeps beside the weights: max_length (tokens), prompts, default_prompt, similarity,
        and truncate_dim, the coordinates of its vectors that the model gives away (None: all).
        """
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
        _check_reads(first)
        settings = {
            "max_length": min(int(first.max_seq_length or 512), sys.maxsize),
            "prompts": dict(model.prompts),
            "default_prompt": model.default_prompt_name,
            "similarity": model.similarity_fn_name,
            "truncate_dim": model.truncate_dim,
        }
        backbone = cls(first.auto_model, tail_of(rest), settings)
        backbone.tokenizer = first.tokenizer
        return backbone

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.stack.depth

    @property
    def width(self) -> int:
        """Length of the sentence vectors."""
        whole, cut = self.whole_width, self.settings.get("truncate_dim")
        return whole if cut is None else min(whole, int(cut))

    @property
    def whole_width(self) -> int:
        """Length of what the tail gives, before the model cuts it."""
        last: Any = self.tail[-1]
        return int(last.get_embedding_dimension())

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.parameters()).device

    def prompt(self, side: Side | None = None) -> str:
        """What goes before every text of this side."""
        return prompt_of(self.settings["prompts"], self.settings["default_prompt"], side)

    def say_cut(self, texts: Sequence[str], side: Side | None = None) -> None:
        """Tell on standard error how many texts are longer than the model reads."""
        say_cut(texts, self.tokenizer, self.settings["max_length"], self.prompt(side))

    def window(self, side: Side | None = "document") -> Window:
        """How much of a text it reads, behind the prompt of this side."""
        return Window(self.tokenizer, self.settings["max_length"], self.prompt(side))

    def tokens(self, texts: Sequence[str], prompts: str | Sequence[str] | None = None) -> dict[str, torch.Tensor]:
        """
        Token ids and masks of some texts, cut at the model's limit and padded to the longest.

        `prompts` go before them: one for all (default: the model's default prompt), or one each. Where the model pools
        without them, their lengths come too.
        """
        limit = self.settings["max_length"]
        prompts = self.prompt() if prompts is None else prompts
        before = [prompts] * len(texts) if isinstance(prompts, str) else list(prompts)
        written = [prompt + readable(text, limit) for prompt, text in zip(before, texts, strict=True)]
        batch = dict(self._tokenized(written, padding=True, return_tensors="pt"))
        pooling: Any = self.tail[0]
        if not pooling.include_prompt:
            lengths = {prompt: self._tokens_of(prompt) for prompt in set(before)}
            batch["prompt_length"] = torch.tensor([lengths[prompt] for prompt in before])
        return {name: value.to(self.device) for name, value in batch.items()}

    def _tokenized(self, texts: list[str], **options: Any) -> Any:
        limit = self.settings["max_length"]
        bounded = {"truncation": True, "max_length": limit} if limit < sys.maxsize else {}
        return self.tokenizer(texts, **bounded, **options)

    def _tokens_of(self, prompt: str) -> int:
        """How many tokens a prompt is at the beginning of a text, as sentence-transformers counts them."""
        if not prompt:
            return 0
        ids = self._tokenized([prompt])["input_ids"][0]
        return len(ids) - (ids[-1] in self.tokenizer.all_special_ids)

    def forward(self, inputs: Mapping[str, Any], depths: Sequence[int]) -> dict[int, torch.Tensor]:
        """Sentence vectors (rows, width), not normalised, after each of these numbers of blocks: one pass."""
        return {depth: self.pool(state, inputs) for depth, state in self.states(inputs, depths).items()}

    def states(self, inputs: Mapping[str, Any], depths: Sequence[int]) -> dict[int, torch.Tensor]:
        """Token states (rows, tokens, hidden size) after each of these numbers of blocks: one pass."""
        return layered.tapped(self.transformer, self.given(inputs), sorted(set(depths)), self.stack)

    def given(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What of `tokens` the transformer is called with."""
        found = {name: value for name, value in inputs.items() if name in self._accepted}
        return {**found, "use_cache": False} if "use_cache" in self._accepted else found

    def pool(self, state: torch.Tensor, inputs: Mapping[str, Any]) -> torch.Tensor:
        """Token states (rows, tokens, hidden size) to sentence vectors (rows, width), through the tail."""
        return self.finish(pooled(self.tail[0], state, inputs))

    def finish(self, vectors: torch.Tensor) -> torch.Tensor:
        """Pooled states (rows, hidden size) to sentence vectors (rows, width), through what comes after pooling."""
        return finish(list(self.tail)[1:], vectors)[:, : self.width]

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
            "tail": [described(module) for module in self.tail],
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
        settings |= {name: config.get(name) for name in ("similarity", "truncate_dim")}  # models of 0.1 have neither
        return cls(transformer.eval(), [module_of(one) for one in config["tail"]], settings)

    def save_tokenizer(self, directory: Path) -> None:
        """Write the tokenizer in its own format."""
        self._settle_tokenizer()
        self.tokenizer.save_pretrained(str(directory / TOKENIZER))

    def _settle_tokenizer(self) -> None:
        """A tokenizer also writes how it last cut and padded: after this that is the same, whatever it read before."""
        self.tokens(["a"])

    def load_tokenizer(self, directory: Path) -> None:
        """Attach what `save_tokenizer` wrote."""
        self.tokenizer = read_tokenizer(directory)

    def sentence_transformer(self, depth: int, dims: Sequence[int]) -> SentenceTransformer:
        """
        An ordinary sentence-transformers model with so many blocks, which shares nothing.

        It gives as many coordinates as the last of `dims` says, the sizes for which they were trained.
        """
        from sentence_transformers.base.modules import Transformer

        settings = {
            "prompts": self.settings["prompts"],
            "default_prompt_name": self.settings["default_prompt"],
            "similarity_fn_name": self.settings.get("similarity"),
        }
        self._settle_tokenizer()
        with temporary_folder() as scratch, quiet():
            layered.truncated(self.transformer, depth, self.stack).save_pretrained(scratch)
            self.tokenizer.save_pretrained(scratch)
            # Said, not guessed: of a tokenizer with a chat template the library would else make a model of chats.
            first = Transformer(
                scratch,
                max_seq_length=self.settings["max_length"],
                modality_config=dict(READS),
                module_output_name="token_embeddings",
            )
            modules = [first, *cut_to(list(self.tail), self.whole_width, dims[-1])]
            return assembled(modules, dims, settings, device=self.device)


def _check_reads(first: Any) -> None:
    """Raise `AnysizeError` if the first module does more than tokenise texts and run a transformer over them."""
    said = first.get_config_dict()
    if said["transformer_task"] != "feature-extraction" or said["modality_config"] != READS:
        raise AnysizeError(
            f"this model reads {', '.join(said['modality_config'])} (by {said['transformer_task']}); only one that "
            "reads plain texts and gives the states of their tokens has layers that can be cut"
        )
    ways = [
        name for name in ("processing_kwargs", "query_length", "document_length", "query_expansion") if name in said
    ]
    if ways:
        raise AnysizeError(f"this model has {ways[0]} of its own, which a model that is cut in layers would not keep")
