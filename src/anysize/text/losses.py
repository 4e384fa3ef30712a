"""
A sentence-embedding loss at every prefix of the embedding (Kusupati et al. 2022, equation 1).

A drop-in for sentence-transformers' ``MatryoshkaLoss``: same arguments, values and gradients. The texts are encoded
once; the inner loss then sees each prefix through a stand-in for its model, and no model's ``forward`` is replaced.
"""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.util import cos_sim
from torch import Tensor, nn

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.prefix import nested_info_nce

logger = logging.getLogger(__name__)

_CITATION = """
@inproceedings{kusupati2022matryoshka,
    title={Matryoshka Representation Learning},
    author={Aditya Kusupati and Gantavya Bhatt and Aniket Rege and Matthew Wallingford and Aditya Sinha and Vivek Ramanujan and William Howard-Snyder and Kaifeng Chen and Sham Kakade and Prateek Jain and Ali Farhadi},
    booktitle={Advances in Neural Information Processing Systems},
    year={2022},
    eprint={2205.13147},
    archivePrefix={arXiv},
}
"""  # noqa: E501


class MatryoshkaLoss(nn.Module):
    """
    The weighted sum of `loss` over prefixes of the embedding, for use in a ``SentenceTransformerTrainer``.

    `loss` is any loss of sentence-transformers (or one written like them) that holds `model` and does not cache
    gradients. ``MultipleNegativesRankingLoss`` with cosines in its one default direction runs in a kernel in which
    all sizes cost little more than one. `matryoshka_dims` come in any order, each with a weight (default 1);
    ``n_dims_per_step > 0`` draws so many of them at each step from Python's `random`.

    After each step `last_terms` holds every size's own loss before weighting, detached.

    Raises `SizeError` for dims or weights that cannot be, `AnysizeError` for a loss that caches gradients or holds
    another model.
    """

    def __init__(
        self,
        model: Any,
        loss: nn.Module,
        matryoshka_dims: Sequence[int],
        matryoshka_weights: Sequence[float] | None = None,
        n_dims_per_step: int = -1,
    ) -> None:
        super().__init__()
        weights = [1] * len(matryoshka_dims) if matryoshka_weights is None else list(matryoshka_weights)
        _check(model, loss, matryoshka_dims, weights)
        self.model = model
        self.loss = loss
        ordered = sorted(zip(matryoshka_dims, weights, strict=True), key=lambda pair: pair[0], reverse=True)
        self.matryoshka_dims, self.matryoshka_weights = zip(*ordered, strict=True)
        self.n_dims_per_step = n_dims_per_step
        self.last_terms: dict[int, Tensor] = {}

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The loss of one batch, a scalar; `sentence_features` holds one dictionary of tensors per column."""
        features, steps = list(sentence_features), self._draw()
        if _is_plain_ranking(self.loss):
            terms = self._in_one_kernel(features, steps)
        else:
            terms = self._one_by_one(features, labels, steps)
        self.last_terms = {dim: term.detach() for (dim, _), term in zip(steps, terms, strict=True)}
        return torch.stack([weight * term for (_, weight), term in zip(steps, terms, strict=True)]).sum()

    def _draw(self) -> list[tuple[int, float]]:
        """Draw the dims and weights of one step, largest first."""
        indices: Sequence[int] = range(len(self.matryoshka_dims))
        if 0 < self.n_dims_per_step < len(indices):
            indices = sorted(random.sample(indices, self.n_dims_per_step))
        return [(self.matryoshka_dims[index], self.matryoshka_weights[index]) for index in indices]

    def _one_by_one(self, features: list[Any], labels: Any, steps: list[tuple[int, float]]) -> list[Tensor]:
        """Any loss: call it once per size, with a stand-in for its model that encodes the first time only."""
        recorded: list[dict[str, Any]] = []
        terms = []
        # A model may write into the features; every size starts from what the first one saw.
        untouched = [copy.copy(column) for column in features]
        for index, (dim, _) in enumerate(steps):
            stand_in = _Prefix(self.model, dim, recorded)
            columns = [copy.copy(column) for column in untouched] if index else features
            term = _with_model(self.loss, self.model, stand_in)(columns, self._shortened(labels, dim))
            # Some losses return named parts, of which the trainer takes the sum.
            terms.append(torch.stack(list(term.values())).sum() if isinstance(term, dict) else term)
        return terms

    def _in_one_kernel(self, features: list[Any], steps: list[tuple[int, float]]) -> list[Tensor]:
        """The ranking loss at all sizes together."""
        columns = _embed(self.model, features)
        if len(columns) < 2 or len(columns[0]) != len(columns[1]):
            raise AnysizeError(f"the ranking loss needs an anchor and a document per row; got {len(columns)} columns")
        dims = sorted({dim for dim, _ in steps})
        losses = nested_info_nce(columns[0], torch.cat(columns[1:]), dims, scale=self.loss.scale)
        by_dim = dict(zip(dims, losses, strict=True))
        return [by_dim[dim] for dim, _ in steps]

    def _shortened(self, labels: Any, dim: int) -> Any:
        """Labels that are embeddings of the model's own width (distillation) are cut like the embeddings."""
        if isinstance(labels, Tensor) and labels.ndim in (2, 3):
            return labels[..., :dim] if labels.size(-1) == self.model.get_embedding_dimension() else labels
        return labels

    def get_config_dict(self) -> dict[str, Any]:
        """What a model card says of this loss."""
        return {
            "loss": type(self.loss).__name__,
            "matryoshka_dims": self.matryoshka_dims,
            "matryoshka_weights": self.matryoshka_weights,
            "n_dims_per_step": self.n_dims_per_step,
        }

    @property
    def citation(self) -> str:
        """The paper, in BibTeX."""
        return _CITATION


class _Prefix(nn.Module):
    """
    Answers for a model with one prefix of its embeddings, normalised; the other attributes are the model's.

    The first size to be used encodes and appends to `recorded`; the sizes after it replay that in the same order.
    """

    def __init__(self, model: Any, dim: int, recorded: list[dict[str, Any]]) -> None:
        super().__init__()
        self.wrapped, self.dim, self.recorded = model, dim, recorded
        self.replays = bool(recorded)
        self.calls = 0

    def forward(self, features: Any, *args: Any, **options: Any) -> dict[str, Any]:
        if not self.replays:
            self.recorded.append(dict(self.wrapped(features, *args, **options)))
        output = self.recorded[self.calls]
        self.calls += 1
        whole = output["sentence_embedding"]
        if self.dim > whole.shape[-1]:
            raise SizeError(f"{self.dim} in matryoshka_dims exceeds the embedding's {whole.shape[-1]} dimensions")
        prefix = nn.functional.normalize(whole[..., : self.dim], dim=-1)
        return {**output, "sentence_embedding": prefix}

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("wrapped"), name)

    def __getitem__(self, index: Any) -> Any:
        return self.wrapped[index]


def _embed(model: Any, features: list[Any]) -> list[Tensor]:
    """Each column's embeddings, in as few passes as the ranking loss itself would make."""
    try:
        from sentence_transformers.base.losses.merged_forward import embed_columns
    except ImportError:  # Versions before it made one pass per column.
        return [model(column)["sentence_embedding"] for column in features]
    return embed_columns(model, features)


def _with_model(module: nn.Module, model: nn.Module, stand_in: nn.Module) -> nn.Module:
    """A copy of `module` that shares its parameters, in which `stand_in` takes the place of `model`."""
    if module is model:
        return stand_in
    children = {name: child and _with_model(child, model, stand_in) for name, child in module._modules.items()}
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    twin = copy.copy(module)
    twin._modules = children
    return twin


def _is_plain_ranking(loss: nn.Module) -> bool:
    """Whether the loss is softmax over in-batch cosines from queries to documents and nothing more."""
    return (
        type(loss) is MultipleNegativesRankingLoss
        and loss.similarity_fct is cos_sim
        and not loss.gather_across_devices
        and tuple(getattr(loss, "directions", ("query_to_doc",))) == ("query_to_doc",)
        and not getattr(loss, "hardness_strength", 0.0)
    )


def _check(model: Any, loss: nn.Module, dims: Sequence[int], weights: Sequence[float]) -> None:
    if not dims:
        raise SizeError("matryoshka_dims is empty; give at least one dimension")
    if min(dims) <= 0:
        raise SizeError(f"{min(dims)} in matryoshka_dims is not a size; expected whole numbers of at least 1")
    if len(weights) != len(dims):
        raise SizeError(f"{len(weights)} matryoshka_weights for {len(dims)} matryoshka_dims; give one weight per size")
    if getattr(loss, "uses_gradient_cache", False) or type(loss).__name__.startswith("Cached"):
        raise AnysizeError(
            f"{type(loss).__name__} caches gradients and embeds again in backward, which this loss cannot follow; use "
            "MultipleNegativesRankingLoss with gradient checkpointing or gradient accumulation, or for "
            "MegaBatchMarginLoss use_mini_batched_version=False"
        )
    if not any(module is model for module in loss.modules()):
        raise AnysizeError(f"{type(loss).__name__} does not hold the model that was given; build both on the same one")
    width = model.get_embedding_dimension()
    if width is not None and max(dims) > width:
        raise SizeError(f"{max(dims)} in matryoshka_dims exceeds the embedding's {width} dimensions")
    if width is not None and width not in dims:
        logger.warning(
            "matryoshka_dims %s lacks the whole embedding, %d: the full size is not trained; add it unless you will "
            "always cut",
            list(dims),
            width,
        )
