"""The model that pre-training starts from: weights where there are some, a configuration alone where there are none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anysize.backbones.huggingface import opening, pretrained
from anysize.core.errors import CheckpointError
from anysize.core.files import read_json

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class Base:
    """A transformers encoder, its masked-language model (for the head) and its tokenizer."""

    encoder: Any
    masked: Any
    tokenizer: Any
    trained: bool
    """Whether there were weights; else they are drawn at random."""

    @property
    def max_length(self) -> int:
        """Most tokens that it can read, special ones included."""
        positions = getattr(self.encoder.config, "max_position_embeddings", None) or 512
        # RoBERTa and its kin count positions from the padding token's number on.
        table = getattr(getattr(self.encoder, "embeddings", None), "position_embeddings", None)
        offset = getattr(table, "padding_idx", None)
        known = int(self.tokenizer.model_max_length)
        limit = positions - (0 if offset is None else offset + 1)
        return min(limit, known) if known < _NO_LIMIT else limit


def load_base(source: str) -> Base:
    """
    Load a folder, the folder of a sentence-transformers model, a packaged model or a hub name.

    A folder with config.json and a tokenizer but no weights gives an untrained model. What a checkpoint lacks (often
    the head) is drawn at random: seed torch before. Raises `AnysizeError` if there is no such masked-language model.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer

    from anysize.backbones.packaged import packaged

    name = _transformer_in(packaged(source) or source)
    folder = Path(name)
    trained = not folder.is_dir() or any((folder / file).is_file() for file in WEIGHTS)
    if not trained and not (folder / "config.json").is_file():
        raise CheckpointError(f"{source} is not a model: it holds no config.json")
    with opening("masked-language model", name):
        tokenizer = pretrained(AutoTokenizer, name)
        if trained:
            return Base(_own(AutoModel, name), _own(AutoModelForMaskedLM, name), tokenizer, trained)
        config = pretrained(AutoConfig, name)
        return Base(AutoModel.from_config(config), AutoModelForMaskedLM.from_config(config), tokenizer, trained)


def _own(kind: Any, name: str) -> Any:
    """In float32, whatever the checkpoint is in: the trainer's updates are too small for half precision."""
    import torch

    return pretrained(kind, name, dtype=torch.float32)


def _transformer_in(source: str) -> str:
    """Where the transformer of a sentence-transformers folder is; the source itself for anything else."""
    listed = Path(source) / "modules.json"
    if not listed.is_file():
        return source
    modules = read_json(listed, "a sentence-transformers model")
    return os.path.join(source, modules[0].get("path", "")) if modules else source
