"""
CSR as sentence-transformers runs it: a `SparseEncoder` of the encoder's own modules and a `SparseAutoEncoder`.

Its module computes ``ReLU(TopK((x - pre_bias) W + latent_bias))``. With ``x' = (x - m) s`` of ours that is
``W = s W_enc``, ``pre_bias = m + b_dec / s``, ``latent_bias = b_enc``: the same codes. Its decoder, which only further
training there uses, is always the encoder transposed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

from anysize.core.engine_checks import Exported
from anysize.core.errors import AnysizeError
from anysize.core.files import new_directory
from anysize.core.model.exporting import EXPORT, write_note
from anysize.core.quiet import quiet
from anysize.sparse.formats.checking import by_sentence_transformers

if TYPE_CHECKING:
    from anysize.sparse.autoencoder.model import SparseAutoencoder


def write_sparse_encoder(sae: SparseAutoencoder, path: str | os.PathLike[str]) -> Exported:
    """
    Write this view's size as a directory that ``SparseEncoder(path)`` loads; its similarity is the cosine.

    It is loaded again and compared. Raises `AnysizeError` for codes that are cut by a threshold, which that module has
    not, for an autoencoder that was not fitted on whole texts, and if what is loaded gives other codes.
    """
    from anysize.sparse.rows.source import Source

    if sae.activation not in ("topk", "relu"):
        raise AnysizeError(
            f"a SparseEncoder keeps each code's k largest latents, and {sae.activation} codes are cut by a threshold; "
            "cut this one in the layout of SAELens, or fit with --method csr or --codes topk"
        )
    options = sae.about.get("options", {})
    if options.get("model") is None or options.get("site") is not None:
        what = "tokens of a language model" if options.get("site") else "vectors"
        raise AnysizeError(
            f"a SparseEncoder reads texts, and this autoencoder was fitted on {what}; fit it with --model"
        )
    base = Source(options["model"]).sentence_transformer()
    with quiet():
        from sentence_transformers import SparseEncoder

        encoder = SparseEncoder(
            modules=[*base, module_of(sae, _whole_width(base))],
            device=str(base.device),
            prompts=dict(base.prompts),
            default_prompt_name=base.default_prompt_name,
            similarity_fn_name="cosine",
        )
    with new_directory(path, marker=EXPORT) as directory, quiet():
        encoder.save(str(directory), create_model_card=False)
        checked = by_sentence_transformers(sae, directory)
        how = f'sentence_transformers.SparseEncoder("{path}")'
        exported = Exported("SparseEncoder", (checked,), how=how)
        write_note(directory, "sparse-encoder", {"size": sae.size.to_json()}, exported)
    return exported


def _whole_width(base: Any) -> int:
    with base.truncate_embeddings(None):
        return int(base.get_embedding_dimension())


@torch.no_grad()
def module_of(sae: SparseAutoencoder, width: int | None = None) -> Any:
    """
    The module that makes these codes of vectors (n, width), its statistics of dead latents empty.

    Coordinates beyond those that the autoencoder reads, which an encoder with ``truncate_dim`` gives there, count for
    nothing.
    """
    from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

    latents = sae.latents
    active = latents if sae.activation == "relu" else min(latents, int(sae.size.get("active", sae.active or latents)))
    unread = (0, (width or sae.width) - sae.width)
    made: Any = SparseAutoEncoder(sae.width + unread[1], latents, k=active, k_aux=min(512, latents))
    made.encoder.weight.copy_(pad((sae.W_enc[:, :latents] * sae.scale).T, unread))
    made.pre_bias.copy_(pad(sae.mean + sae.b_dec / sae.scale, unread))
    made.latent_bias.copy_(sae.b_enc[:latents])
    return made
