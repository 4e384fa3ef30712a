"""What a nested autoencoder is compared with: fixed ones cut by their order or sorted, and one trained at each size."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from anysize.core.errors import AnysizeError
from anysize.core.scratch import temporary_folder
from anysize.core.twins import check_arm, check_same_data, method_of
from anysize.sparse.dense import DENSE, dense_arm
from anysize.sparse.evaluate import Split, split_of
from anysize.sparse.fixed import BatchTopK, JumpReLU, TopK
from anysize.sparse.methods import SparseOptions
from anysize.sparse.model import SparseAutoencoder
from anysize.sparse.pruning import prune, sort_by_importance
from anysize.sparse.scores import importance

TRAINED = ("batchtopk", "topk", "jumprelu", "sorted", "pruned", "single")


def rival(model: SparseAutoencoder, name: str, data: Any) -> list[Any]:
    """
    Views of one rival of `model`, smallest first; all are trained with the same data, steps, batches and seed.

    ``batchtopk``, ``topk`` and ``jumprelu``: a fixed autoencoder of the full size, cut in the order of its latents.
    ``sorted``: the BatchTopK one, its latents sorted by energy before it is cut, which costs no training. ``pruned``:
    that, with the bias and the number of active latents refitted at each size. ``single``: for each size, one trained
    at that size alone. ``truncate``, ``pca`` and ``original`` are dense vectors, with which only search compares.
    Raises `AnysizeError` otherwise.
    """
    if name in DENSE:
        return list(dense_arm(model, name))
    check_arm(name, (*TRAINED, *DENSE[:-1]))
    method: SparseOptions = method_of(model)
    check_same_data(model, data, name)
    if name == "single":
        return [method.single(size).fit(data) for size in model.nesting]
    kinds: dict[str, type[SparseOptions]] = {"topk": TopK, "jumprelu": JumpReLU}
    twin = fixed_twin(method, kinds.get(name, BatchTopK), model).fit(data)
    if name in ("sorted", "pruned"):
        with temporary_folder() as scratch:
            rows = training_rows(split_of(model, data, scratch))
        if name == "pruned":
            if "latents" not in model.nesting.axes:
                raise AnysizeError("only an autoencoder that is nested in latents has pruned rivals")
            return [prune(twin.at(), size, rows).sae for size in model.nesting.levels("latents")]
        twin = sorted_by_energy(twin, rows)
    return [twin.at(size) for size in twin.nesting if size in model.nesting]


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
    kept["latents"] = nesting.levels("latents") if "latents" in nesting.axes else (model.b_enc.shape[0],)
    kept["active"] = nesting.levels("active") if "active" in nesting.axes else (model.active,)
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
