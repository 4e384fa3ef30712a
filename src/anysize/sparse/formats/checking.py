"""Exports of a sparse autoencoder run by the libraries that they are for, beside the autoencoder itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anysize.core.child import run_child
from anysize.core.engine_checks import TEXTS, Check, NotChecked, apart, version_of
from anysize.core.quiet import quiet
from anysize.core.scratch import temporary_folder

if TYPE_CHECKING:
    from anysize.sparse.autoencoder.model import SparseAutoencoder

ROWS, CLOSE, TIMEOUT = 64, 1e-3, 300.0


def by_sae_lens(sae: SparseAutoencoder, directory: Path) -> Check | NotChecked:
    """Codes and reconstructions of random rows. Raises `AnysizeError` if SAELens gives others or fails."""
    version = version_of("sae-lens")
    if version is None:
        return NotChecked("SAELens", "pip install sae-lens")
    rows = _rows(sae)
    with temporary_folder() as scratch:
        inputs, answer = scratch / "inputs.npy", scratch / "answer.npz"
        np.save(inputs, rows)
        program = Path(__file__).with_name("sae_lens_child.py")
        run_child(program, [directory, inputs, answer], "SAELens", TIMEOUT)
        with np.load(answer) as found, torch.no_grad():
            codes = apart(found["codes"], sae.encode_dense(rows).numpy())
            rebuilt = apart(found["rebuilt"], sae(rows).numpy())
    return Check("SAELens", version, f"codes and reconstructions of {len(rows)} rows", max(codes, rebuilt), CLOSE)


def by_sentence_transformers(sae: SparseAutoencoder, directory: Path) -> Check:
    """Codes of texts. Raises `AnysizeError` if the SparseEncoder in `directory` gives others."""
    with quiet():
        from sentence_transformers import SparseEncoder

        read: Any = SparseEncoder(str(directory), device="cpu", local_files_only=True)
        found = read.encode_document(list(TEXTS), convert_to_sparse_tensor=False, show_progress_bar=False)
        expected = sae.encode_dense(sae.features(list(TEXTS)))
    version = version_of("sentence-transformers") or ""
    difference = apart(found.cpu().numpy(), expected.numpy())
    return Check("sentence-transformers", version, f"codes of {len(TEXTS)} texts", difference, CLOSE)


def _rows(sae: SparseAutoencoder) -> np.ndarray:
    """Random rows about the centre, without those of which the last digits decide what latent is active."""
    drawn = np.random.default_rng(0).standard_normal((ROWS, sae.width))
    centre, scale = sae.mean.numpy(), float(sae.scale)
    rows = [(centre + drawn * factor / scale).astype(np.float32) for factor in (1.0, 1 - 1e-5, 1 + 1e-5)]
    with torch.no_grad():
        active = [sae.encode_dense(part) > 0 for part in rows]
    sure = ((active[0] == active[1]) & (active[0] == active[2])).all(dim=1).numpy()
    kept: np.ndarray = rows[0][sure]
    return kept
