"""A causal language model of Hugging Face as a nested model: what codes are made from, whole in depth."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from anysize.backbones.generating import Generating, continued, picking
from anysize.backbones.huggingface import TOKENIZER, config_of, configuration, opening, pretrained, read_tokenizer
from anysize.backbones.packaged import packaged
from anysize.backbones.texts.cut_texts import say_shortened
from anysize.core.arguments import PATH, TEXT, TEXTS, expect, many, number, takes, whole
from anysize.core.engine_checks import Exported
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.files import new_directory, read_json
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.model.exporting import EXPORT, write_note
from anysize.core.model.manifest import MANIFEST
from anysize.core.quiet import quiet
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

LENGTH = 256
"""Tokens of a window where nobody says otherwise; models that read fewer get their own limit."""


class CausalLM(Generating, NestedModel):
    """
    Gives the logits of every next token. `max_length` is the length of the windows it learns and is measured on.

    Raises `SizeError` for a nesting that is not its number of blocks alone: it cannot be cut in depth.
    """

    kind = "causal-lm"
    reads = ("text",)
    gives = "next tokens"
    evaluators = ("next-token",)
    rivals: ClassVar[Mapping[str, str]] = {"original": "anysize.backbones.causal:original"}
    exports: ClassVar[Mapping[str, str]] = {"transformers": "anysize.backbones.causal:write"}
    converts: ClassVar[Mapping[str, str]] = {"transformers": "anysize.backbones.causal:CausalLM.transformer"}

    def __init__(self, nesting: Nesting, lm: Any, max_length: int) -> None:
        super().__init__(nesting)
        depth = int(lm.config.num_hidden_layers)
        if list(nesting) != [Size(layers=depth)]:
            raise SizeError(
                f"a language model runs whole, with its {depth} layers; got {'; '.join(map(str, nesting))}, so leave "
                "out layers and dims"
            )
        self.lm = lm
        self.max_length = max_length
        self.tokenizer: Any = None

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str] | Any, *, max_length: int | None = None) -> Self:
        """
        A Hugging Face causal language model by folder or hub name (or the model itself), in float32.

        Raises `AnysizeError` if there is none.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        lm: Any
        if isinstance(path, nn.Module):
            lm = path
            tokenizer = None
        else:
            path = os.fspath(expect(path, PATH, "from_pretrained: path"))
            with opening("language model", path):
                lm = pretrained(AutoModelForCausalLM, path, dtype=torch.float32)
                tokenizer = pretrained(AutoTokenizer, path)
        length = max_length or min(LENGTH, int(getattr(lm.config, "max_position_embeddings", None) or LENGTH))
        model = cls(Nesting(layers=(int(lm.config.num_hidden_layers),)), lm, length)
        model.tokenizer = tokenizer
        model.about = {"options": {"model": None if tokenizer is None else path}}
        return model.eval()

    # Running

    @takes(texts=TEXTS)
    def tokens(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Ids and mask of some texts, cut at `max_length` and padded on the right."""
        if self.tokenizer is None:
            raise AnysizeError("this language model came without a tokenizer; give token ids, or load it by its folder")
        listed = [self.tokenizer(text, truncation=True, max_length=self.max_length)["input_ids"] for text in texts]
        longest = max([len(ids) for ids in listed] + [1])
        end = self.tokenizer.pad_token_id
        filler = end if end is not None else self.tokenizer.eos_token_id or 0
        ids = torch.full((len(listed), longest), filler)
        mask = torch.zeros(len(listed), longest, dtype=torch.long)
        for row, found in enumerate(listed):
            ids[row, : len(found)] = torch.tensor(found, dtype=torch.long)
            mask[row, : max(len(found), 1)] = 1  # a text without tokens still asks what comes first
        return {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(iter(self.lm.parameters())).device

    def _outputs(self, example: Any, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Logits (rows, tokens, vocabulary) for texts, or for token ids (rows, tokens)."""
        given = isinstance(example, torch.Tensor)
        inputs = {"input_ids": example.to(self.device)} if given else self.tokens(list(example))
        return {asked[0]: self.lm(**inputs, use_cache=False).logits.float()}

    @takes(
        items=TEXTS,
        max_new_tokens=whole(),
        temperature=number(0),
        seed=whole(0),
        stop=many(TEXT, "a list of texts"),
        batch_size=whole(),
    )
    def generate(
        self,
        items: Sequence[str],
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        batch_size: int = 8,
        told: Callable[[str], None] | None = None,
    ) -> list[str]:
        """
        What the model goes on with after each text, up to the end that it sets, one of `stop`, or so many tokens.

        `told` is called after each token with all that was said so far, of one text alone.

        At `temperature` 0 the most probable token comes next; above, one is drawn, by `seed` and the words of the text.
        Of a text that leaves no room for the new tokens only the end is read. Raises `AnysizeError` for more new tokens
        than the model has places.
        """
        if self.tokenizer is None:
            raise AnysizeError("this language model came without a tokenizer; load it by its folder or name")
        places = int(getattr(self.lm.config, "max_position_embeddings", None) or sys.maxsize)
        if max_new_tokens >= places:
            raise AnysizeError(f"max_new_tokens is {max_new_tokens}, and the model has {places} places in all")
        with quiet():  # it warns of texts that are longer than the model reads
            prompts = [self.prompt(text) or [self._first()] for text in items]
        say_shortened(sum(len(ids) > places - max_new_tokens for ids in prompts), len(prompts), places - max_new_tokens)
        prompts = [ids[-(places - max_new_tokens) :] for ids in prompts]

        def stopped(ids: list[int]) -> bool:
            said = self._text(ids) if stop or told is not None else ""
            if told is not None:
                told(said)
            return any(one in said for one in stop)

        written = [""] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            found = continued(
                self.lm,
                [prompts[row] for row in rows],
                picking([items[row] for row in rows], temperature, seed),
                most=max_new_tokens,
                ends=self._ends(),
                stopped=stopped,
                filler=self._first(),
            )
            for row, ids in zip(rows, found, strict=True):
                text = self._text(ids)
                written[row] = text[: min([text.find(one) for one in stop if one in text], default=len(text))]
        return written

    def prompt(self, text: str) -> list[int]:
        """Ids of a text that is gone on with."""
        found: list[int] = self.tokenizer(text)["input_ids"]
        return found

    def _text(self, ids: Sequence[int]) -> str:
        found: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return found

    def _first(self) -> int:
        """What stands where there is no token."""
        known = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        return next((int(one) for one in known if one is not None), 0)

    def _ends(self) -> set[int]:
        """The tokens by which the model says that a text ends."""
        said = [self.tokenizer.eos_token_id, self.lm.config.eos_token_id]
        if self.lm.generation_config is not None:
            said.append(self.lm.generation_config.eos_token_id)
        return {int(one) for held in said if held is not None for one in (held if isinstance(held, list) else [held])}

    # The contract

    def cost(self) -> Cost:
        """Bytes of all weights; FLOPs of one token, attention over earlier ones left out."""
        count = sum(weight.numel() for weight in self.lm.parameters())
        linear = sum(part.weight.numel() for part in self.lm.modules() if isinstance(part, nn.Linear))
        return Cost(bytes=4 * count, parameters=count, flops=2 * linear)

    def transformer(self) -> Any:
        """The Hugging Face model with its tokenizer attached (`save_pretrained` both); it shares nothing."""
        lm = copy.deepcopy(self.lm)
        lm.tokenizer = self.tokenizer
        return lm

    def config(self) -> dict[str, Any]:
        """The model's own configuration and the length of its windows."""
        return {"transformer": config_of(self.lm), "max_length": self.max_length}

    @classmethod
    def build(cls, config: Mapping[str, Any], nesting: Nesting) -> Self:
        """An untrained model of that configuration; no code of a checkpoint runs."""
        from transformers import AutoModelForCausalLM

        full = configuration(config["transformer"])
        with quiet():
            return cls(nesting, AutoModelForCausalLM.from_config(full).eval(), int(config["max_length"]))

    def saved_state(self) -> dict[str, torch.Tensor]:
        """All weights, those that modules share (a tied head) once."""
        tied = {f"lm.{name}" for name in self._tied()}
        return {name: value for name, value in self.state_dict().items() if name not in tied}

    def _tied(self) -> set[str]:
        if not getattr(self.lm.config, "tie_word_embeddings", False):
            return set()
        known = getattr(self.lm, "_tied_weights_keys", None) or ()
        return set(known)

    def save_parts(self, directory: Path) -> None:
        """The tokenizer, where there is one."""
        if self.tokenizer is not None:
            self.tokens(["a"])  # a tokenizer writes how it last cut and padded: as here, whatever it read before
            self.tokenizer.save_pretrained(str(directory / TOKENIZER))

    def load_parts(self, directory: Path) -> None:
        """The tokenizer, and the weights that modules share."""
        self.lm.tie_weights()
        if (directory / TOKENIZER).is_dir():
            self.tokenizer = read_tokenizer(directory)

    def take_parts(self, whole: Self) -> None:
        """The tokenizer, and the weights that modules share."""
        self.lm.tie_weights()
        self.tokenizer = whole.tokenizer


def write(view: CausalLM, path: str | os.PathLike[str]) -> Exported:
    """Write it as the Hugging Face model that it is, with its tokenizer."""
    with new_directory(path, marker=EXPORT) as directory, quiet():
        write_note(directory, "transformers", {"fingerprint": view.fingerprint})
        view.lm.save_pretrained(str(directory))
        if view.tokenizer is not None:
            view.tokenizer.save_pretrained(str(directory))
    return Exported("transformers", how=f'AutoModelForCausalLM.from_pretrained("{path}")')


def original(model: CausalLM, data: Any) -> list[CausalLM]:
    """The rival ``original``: the model itself, whole."""
    return [model.at()]


def is_causal_lm(name: str) -> bool:
    """Whether a folder, or a name on the hub, is a language model and not a sentence encoder."""
    folder = Path(packaged(name) or name)
    if (folder / MANIFEST).exists() or (folder / "modules.json").exists():
        return False
    if folder.is_dir():
        there = (folder / "config.json").exists()
        config: Any = read_json(folder / "config.json", "a Hugging Face model") if there else {}
    else:
        from transformers import PretrainedConfig

        try:
            config, _ = PretrainedConfig.get_config_dict(name)
        except (OSError, ValueError):
            return False
    listed = config.get("architectures") if isinstance(config, dict) else None
    return isinstance(listed, list) and any(str(name).endswith("ForCausalLM") for name in listed[:1])
