"""What a nested autoencoder is compared with: fixed ones cut by their order or sorted, and one trained at each size."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError
from anysize.core.scratch import temporary_folder
from anysize.core.verbs.rivals import check_same_data, method_of
from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.measuring.rebuilt import Split, split_of
from anysize.sparse.methods.fixed import BatchTopK, JumpReLU, TopK
from anysize.sparse.methods.options import SparseOptions
from anysize.sparse.pruning.importance import importance
from anysize.sparse.pruning.prune import prune, sort_by_importance


def batchtopk(model: SparseAutoencoder, data: Data) -> list[SparseAutoencoder]:
    """A BatchTopK autoencoder of the full size, cut in the order of its latents."""
    return _cut(model, _trained(model, data, "batchtopk", BatchTopK))


def topk(model: SparseAutoencoder, data: Data) -> list[SparseAutoencoder]:
    """A TopK autoencoder of the full size, cut in the order of its latents."""
    return _cut(model, _trained(model, data, "topk", TopK))


def jumprelu(model: SparseAutoencoder, data: Data) -> list[SparseAutoencoder]:
    """A JumpReLU autoencoder of the full size, cut in the order of its latents."""
    return _cut(model, _trained(model, data, "jumprelu", JumpReLU))


def by_energy(model: SparseAutoencoder, data: Data) -> list[SparseAutoencoder]:
    """The BatchTopK one, its latents sorted by energy before it is cut, which costs no training."""
    twin = _trained(model, data, "sorted", BatchTopK)
    return _cut(model, sorted_by_energy(twin, _training_rows(model, data)))


def pruned(model: SparseAutoencoder, data: Data) -> list[SparseAutoencoder]:
    """The sorted one, with the bias and the number of active latents refitted at each size."""
    if "latents" not in model.nesting.axes:
        raise AnysizeError("only an autoencoder that is nested in latents has pruned rivals")
    twin = _trained(model, data, "pruned", BatchTopK)
    rows = _training_rows(model, data)
    return [prune(twin.at(), size, rows).sae for size in model.nesting.values("latents")]


def _trained(model: SparseAutoencoder, data: Data, arm: str, kind: type[SparseOptions]) -> SparseAutoencoder:
    """A fixed twin, trained with the same data, steps, batches and seed."""
    check_same_data(model, data, arm)
    twin: SparseAutoencoder = fixed_twin(method_of(model), kind, model).fit(data)
    return twin


def _cut(model: SparseAutoencoder, twin: SparseAutoencoder) -> list[SparseAutoencoder]:
    return [twin.at(size) for size in twin.nesting if size in model.nesting]


def _training_rows(model: SparseAutoencoder, data: Data) -> np.ndarray:
    with temporary_folder() as scratch:
        return training_rows(split_of(model, data, scratch))


def fixed_twin(method: SparseOptions, kind: type[SparseOptions], model: SparseAutoencoder) -> SparseOptions:
    """
    A fixed autoencoder with the sizes of `model`, trained as it was, at the largest alone.

    Raises `AnysizeError` if the codes of `model` have no number of active latents to be equal in.
    """
    shared = {one.name for one in fields(SparseOptions)} - {"weights", "sampled", "detach", "bias_level"}
    if not kind.anneals:
        shared -= {"k_anneal", "initial_topk"}
    kept: dict[str, Any] = {name: getattr(method, name) for name in shared}
    nesting = model.nesting
    if "active" not in nesting.axes and model.active is None:
        raise AnysizeError(
            f"{model.activation} codes are not trained for a number of active latents, so no twin has as many; "
            "leave out the arm, or use single"
        )
    kept["latents"] = nesting.values("latents") if "latents" in nesting.axes else (model.b_enc.shape[0],)
    kept["active"] = nesting.values("active") if "active" in nesting.axes else (model.active,)
    if kind.trains_levels:
        kept["weights"] = tuple(float(size == nesting.full) for size in nesting)
    return kind(**kept)


def training_rows(split: Split) -> np.ndarray:
    """Of all rows those that training may see, at most 32,768 of them: what is measured must not decide an order."""
    places = np.flatnonzero(~split.held)
    return np.asarray(split.rows[places[:: -(-len(places) // 32_768)]])


def sorted_by_energy(sae: SparseAutoencoder, rows: Any) -> SparseAutoencoder:
    """The same autoencoder with its latents in the order of mean square contribution on `rows`, highest first."""
    twin = sort_by_importance(sae.at(), importance(sae.at(), rows)).sae
    twin.about = dict(sae.about)
    return twin
