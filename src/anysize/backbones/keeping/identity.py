"""What decides the vectors that a sentence-transformers model gives: its weights, and all that stands around them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from typing import TYPE_CHECKING, Any

from anysize.core.model.checkpoint import raw_bytes

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LIBRARIES = ("torch", "transformers", "tokenizers", "sentence-transformers")
_WHERE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
"""What a configuration says of where it came from, and not of what the model does."""
PROBES = ("every word of a text that is cut at the limit " * 60, "The quick brown fox, ÉTÉ 1998: 日本語 اللغة?", "a")
"""Texts whose vectors two models would have to share to be taken for one."""


def weights_digest(model: SentenceTransformer) -> str:
    """SHA-256 over the weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def identity(model: SentenceTransformer) -> str:
    """
    SHA-256 over the weights, the modules and their settings, the tokenizer, the prompts, and the libraries' versions.

    A model that was saved and read again has the identity that it had.
    """
    said = {
        "weights": weights_digest(model),
        "kinds": sorted({f"{weight.dtype} {weight.device.type}" for weight in model.parameters()}),
        "modules": [[type(part).__qualname__, _settings(part)] for part in model],
        "configurations": _configurations(model),
        "tokenizer": _tokenizer(model.tokenizer),
        "lengths": [model.max_seq_length, model.truncate_dim],
        "prompts": [model.prompts, model.default_prompt_name],
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def written(model: SentenceTransformer) -> tuple[tuple[int, int], ...]:
    """Torch counts how often a weight was written, so that a model which was trained on is known to be another."""
    return tuple((weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in model.parameters())


def _settings(part: Any) -> Any:
    from sentence_transformers.base.modules import Module

    return part.get_config_dict() if isinstance(part, Module) else str(part)


def _configurations(model: SentenceTransformer) -> list[dict[str, Any]]:
    from transformers import PreTrainedModel

    said = [part.config.to_dict() for part in model.modules() if isinstance(part, PreTrainedModel)]
    return [{name: value for name, value in one.items() if name not in _WHERE} for one in said]


def _tokenizer(tokenizer: Any) -> Any:
    """The tokenizer without how it last cut and padded."""
    import tokenizers
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

    inside = tokenizer.backend_tokenizer if isinstance(tokenizer, PreTrainedTokenizerFast) else tokenizer
    if isinstance(inside, tokenizers.Tokenizer):
        said = json.loads(inside.to_str())
        return {name: value for name, value in said.items() if name not in ("truncation", "padding")}
    known = sorted(inside.get_vocab().items()) if isinstance(inside, PreTrainedTokenizerBase) else None
    return [type(inside).__qualname__, known]
