"""The ordinary sentence-transformers or transformers model with float weights, loaded again and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anysize.backbones.huggingface import pretrained
from anysize.core.engine_checks import TEXTS, Check, apart, version_of
from anysize.core.quiet import quiet
from anysize.quantize.export.shared import Written, embeds, write_floats

if TYPE_CHECKING:
    from anysize.quantize.model.model import Quantized

CLOSE = 1e-4


def write_ordinary(view: Quantized, directory: Path) -> Written:
    """Write it and check it. Raises `AnysizeError` if what the library loads does not give what the view gives."""
    model, said = write_floats(view, directory)
    return Written(said, (loaded_again(view, model, directory),))


def loaded_again(view: Quantized, model: Any, directory: Path, bound: float = CLOSE) -> Check:
    """
    Load a folder with the library that it is for and compare it with the view: vectors of texts, or logits.

    `model` is what was extracted from the view. Raises `AnysizeError` if they are further apart than `bound`.
    """
    with quiet(), torch.no_grad():
        if embeds(view):
            from sentence_transformers import SentenceTransformer

            as_encoder: Any = view
            read: Any = SentenceTransformer(
                str(directory), device="cpu", local_files_only=True, trust_remote_code=False
            )
            found = read.encode_document(list(TEXTS), normalize_embeddings=True, show_progress_bar=False)
            expected: Any = as_encoder.encode_document(list(TEXTS))
            library, what = "sentence-transformers", "vectors"
        else:
            from transformers import AutoModelForCausalLM

            read = pretrained(AutoModelForCausalLM, directory, dtype=torch.float32, local_files_only=True)
            ids = torch.arange(32).view(4, 8) * 7 % model.config.vocab_size
            found, expected = read.eval()(ids).logits.numpy(), view(ids).numpy()
            library, what = "transformers", "logits of 32 tokens"
    compared = f"{what} of {len(TEXTS)} texts" if what == "vectors" else what
    return Check(library, version_of(library) or "", compared, apart(found, expected), bound)
