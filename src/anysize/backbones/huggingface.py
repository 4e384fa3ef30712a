"""Models of Hugging Face inside our own: their configuration and tokenizer, saved so that no code of a file runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anysize.core.errors import CheckpointError
from anysize.core.quiet import quiet

TOKENIZER = "tokenizer"
"""Folder, beside our weights, of a tokenizer in its own format."""


def config_of(model: Any) -> dict[str, Any]:
    """A model's own configuration as plain values, without the place that it came from."""
    values = model.config.to_dict()
    values.pop("_name_or_path", None)
    return {**values, "dtype": "float32"}


def configuration(values: Mapping[str, Any]) -> Any:
    """The configuration that `config_of` gave. Raises `CheckpointError` for a kind that transformers does not know."""
    from transformers import AutoConfig

    rest = dict(values)
    try:
        return AutoConfig.for_model(rest.pop("model_type"), **rest)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"this version of transformers does not know the model ({error})") from None


def read_tokenizer(directory: Path) -> Any:
    """The tokenizer of a saved model. Raises `CheckpointError` if it cannot be read."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(str(directory / TOKENIZER), local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"the tokenizer in {directory} cannot be read ({reason})") from None
