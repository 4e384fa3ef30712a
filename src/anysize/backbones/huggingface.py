"""Models of Hugging Face inside our own: their configuration and tokenizer, saved so that no code of a file runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anysize.core.errors import AnysizeError, CheckpointError, reason_of, refused_as_damaged
from anysize.core.files import read_object
from anysize.core.quiet import quiet

TOKENIZER = "tokenizer"
"""Folder, beside our weights, of a tokenizer in its own format."""


def pretrained(kind: Any, place: str | os.PathLike[str], **options: Any) -> Any:
    """
    ``kind.from_pretrained(place)``, of an auto class of transformers; no code of the folder or the hub runs.

    Nor is anybody asked whether it may. Weights that are pickled (``pytorch_model.bin``) are read by torch's restricted
    reader, which is what transformers does by itself. Raises `CheckpointError` for a model that needs code of its own,
    and whatever transformers raises.
    """
    try:
        with quiet():
            return kind.from_pretrained(os.fspath(place), trust_remote_code=False, **options)
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise needs_code(place) from None


@contextlib.contextmanager
def opening(what: str, name: str | os.PathLike[str]) -> Iterator[None]:
    """
    Quietly open a model of others that a user named; what a library raises meanwhile becomes one sentence.

    Raises `CheckpointError` for a folder or file that is there and does not load as `what`, or that needs code of its
    own; `AnysizeError` for a name that the hub does not give.
    """
    try:
        with quiet():
            yield
    except (AnysizeError, MemoryError):
        raise
    except Exception as error:  # the libraries have no common error for a bad file
        if "trust_remote_code" in str(error):
            raise needs_code(name) from None
        reason = reason_of(error)
        if os.path.exists(name):
            lacks = ", or it needs a package that is not installed" if isinstance(error, ImportError) else ""
            raise CheckpointError(
                f"cannot load the {what} in {os.fspath(name)} ({reason}); it may be damaged{lacks}"
            ) from None
        raise AnysizeError(
            f"cannot load the {what} {os.fspath(name)!r}: it is no folder here, and the hub did not give it ({reason})"
        ) from None


def needs_code(place: str | os.PathLike[str]) -> CheckpointError:
    """The error for a model that only code which comes with it can read."""
    return CheckpointError(
        f"{os.fspath(place)} needs code of its own to be read, and anysize runs none that comes with a model; "
        "use a model that transformers or sentence-transformers knows by itself"
    )


def check_tokenizers(folder: Path) -> None:
    """
    Raise `CheckpointError` if a tokenizer in `folder` is of a class that comes with it.

    Where code is not to be run, some readers put the usual tokenizer of the model's kind in its place, and say nothing.
    """
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    for file in folder.rglob("tokenizer_config.json"):
        found = read_object(file, "the configuration of a tokenizer")
        named = found.get("tokenizer_class")
        if found.get("auto_map") and (not isinstance(named, str) or tokenizer_class_from_name(named) is None):
            raise needs_code(file.parent)


def config_of(model: Any) -> dict[str, Any]:
    """A model's own configuration as plain values, without the place that it came from."""
    values = model.config.to_dict()
    for name in ("_name_or_path", "auto_map"):  # the latter names code, which does not travel with the weights
        values.pop(name, None)
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

    with refused_as_damaged(f"the tokenizer in {directory} cannot be read"):
        return pretrained(AutoTokenizer, directory / TOKENIZER, local_files_only=True)
