"""
Nested losses for SentenceTransformerTrainer (MRL, Kusupati et al. 2022, equation 1): any of its losses, every size.

The model runs once per batch; the wrapped loss then sees each prefix, normalised, in turn. It sees them through a
copy of itself that holds a stand-in for the model, so neither the user's model nor the user's loss is altered.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import cos_sim, pytorch_cos_sim

from anysize.core.errors import SizeError
from anysize.core.losses.prefix import nested_info_nce
from anysize.text.losses.standin import StandIn, normalized_prefix, with_attribute, with_model

logger = logging.getLogger(__name__)

Features = Iterable[dict[str, Any]]


class MatryoshkaLoss(torch.nn.Module):
    """
    A loss of sentence-transformers at several prefix lengths: the weighted sum over `matryoshka_dims`.

    Takes the place of ``sentence_transformers``' class of this name, with its values and gradients. Every prefix is
    L2-normalised before the loss sees it, also the longest, so a dot-product loss becomes a cosine loss.
    `n_dims_per_step` draws so many of the sizes anew at each step, from Python's `random`; -1 takes all.
    `last_terms` holds each size's own loss (unweighted, detached) of the last step, for logging.

    `MultipleNegativesRankingLoss` over cosine similarities shares its work between the sizes (see
    `anysize.core.losses.prefix`), and so does its cached twin; every other loss is called once per size. Cached losses
    keep their small memory.

    Raises `SizeError` if a dim is not positive, comes twice, or exceeds the model's; or if weights do not match.
    """

    model: Any
    loss: Any

    def __init__(
        self,
        model: torch.nn.Module,
        loss: torch.nn.Module,
        matryoshka_dims: Sequence[int],
        matryoshka_weights: Sequence[float] | None = None,
        n_dims_per_step: int = -1,
    ) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        weights: list[float] = list([1] * len(matryoshka_dims) if matryoshka_weights is None else matryoshka_weights)
        check_dims(list(matryoshka_dims), weights, n_dims_per_step, self.model.get_embedding_dimension())
        # Largest first, as sentence-transformers lists them in model cards.
        ordered = sorted(zip(matryoshka_dims, weights, strict=True), reverse=True)
        self.matryoshka_dims = tuple(dim for dim, _ in ordered)
        self.matryoshka_weights = tuple(weight for _, weight in ordered)
        self.n_dims_per_step = n_dims_per_step
        self.last_terms: dict[int, torch.Tensor] = {}

    def forward(self, sentence_features: Features, labels: torch.Tensor | None = None) -> torch.Tensor:
        """The weighted sum over the sizes of this step, a scalar."""
        columns, weights = list(sentence_features), self._draw()
        if getattr(self.loss, "uses_gradient_cache", False):
            return self._cached(columns, labels, weights)
        if shares_work(self.loss, MultipleNegativesRankingLoss) and self.loss.model is self.model:
            queries, *documents = embed_columns(self.model, columns)
            if documents:
                terms = in_batch_softmax(self.loss, queries, torch.cat(documents), tuple(weights))
                return self._sum(dict(zip(weights, terms, strict=True)), weights)
        return self._sum(self._one_by_one(columns, labels, tuple(weights)), weights)

    def terms_by_size(self) -> dict[str, torch.Tensor]:
        """`last_terms`, by the names of the sizes."""
        return {f"dims={dim}": term for dim, term in self.last_terms.items()}

    def _draw(self) -> dict[int, float]:
        """Prefix length -> weight for this step, increasing."""
        chosen: Sequence[int] = range(len(self.matryoshka_dims))
        if 0 < self.n_dims_per_step < len(chosen):
            chosen = random.sample(chosen, self.n_dims_per_step)
        return {self.matryoshka_dims[index]: self.matryoshka_weights[index] for index in sorted(chosen, reverse=True)}

    def _sum(self, terms: dict[int, torch.Tensor], weights: dict[int, float]) -> torch.Tensor:
        self.last_terms = {dim: term.detach() for dim, term in terms.items()}
        return torch.stack([weights[dim] * term for dim, term in terms.items()]).sum()

    def _one_by_one(
        self, columns: list[dict[str, Any]], labels: torch.Tensor | None, dims: tuple[int, ...]
    ) -> dict[int, torch.Tensor]:
        """Hand the loss a stand-in that encodes at its first use and thereafter repeats, cut to each size."""
        standin = StandIn(self.model)
        loss = with_model(self.loss, self.model, standin)
        # The model may write into what it is given; later sizes get the columns as they came.
        as_given = [dict(column) for column in columns]
        width = self.model.get_embedding_dimension()
        terms = {}
        for dim in dims:
            standin.show(dim)
            value = loss(columns, _cut_labels(labels, width, dim))
            terms[dim] = torch.stack(list(value.values())).sum() if isinstance(value, dict) else value
            standin.check(type(self.loss).__name__)
            columns = [dict(column) for column in as_given]
        return terms

    def _cached(
        self, columns: list[dict[str, Any]], labels: torch.Tensor | None, weights: dict[int, float]
    ) -> torch.Tensor:
        """
        GradCache (Gao et al. 2021) at every size: the loss embeds in small batches as ever, and the step between,
        from embeddings to their gradients, does each prefix in turn.
        """
        inner = self.loss
        shared = shares_work(inner, CachedMultipleNegativesRankingLoss)

        def calculate(reps: list[list[torch.Tensor]], *rest: Any, **options: Any) -> torch.Tensor:
            if shared:
                return self._sum(_cached_in_batch_softmax(inner, reps, weights), weights)
            return self._sum(_cached_one_by_one(inner, reps, weights, rest, options), weights)

        return with_attribute(inner, "calculate_loss", calculate)(columns, labels)

    def get_config_dict(self) -> dict[str, Any]:
        """What a model card shows."""
        return {
            "loss": type(self.loss).__name__,
            "matryoshka_dims": self.matryoshka_dims,
            "matryoshka_weights": self.matryoshka_weights,
            "n_dims_per_step": self.n_dims_per_step,
        }

    @property
    def citation(self) -> str:
        """BibTeX of the paper, for model cards."""
        return """
@inproceedings{kusupati2022matryoshka,
    title={Matryoshka Representation Learning},
    author={Aditya Kusupati and Gantavya Bhatt and Aniket Rege and Matthew Wallingford and Aditya Sinha and Vivek Ramanujan and William Howard-Snyder and Kaifeng Chen and Sham Kakade and Prateek Jain and Ali Farhadi},
    booktitle={Advances in Neural Information Processing Systems},
    year={2022},
    eprint={2205.13147},
    archivePrefix={arXiv}
}
"""  # noqa: E501


def check_dims(
    dims: list[int], weights: list[float], n_dims_per_step: int, width: int | None, *, full: bool = True
) -> None:
    """
    Raise `SizeError` for lists that cannot be trained; where `full`, warn if the full width is not among them.

    What sentence-transformers also says is said in its words, for which people search and which its tests compare.
    """
    if not dims:
        raise SizeError("You must provide at least one dimension in matryoshka_dims.")
    for dim in dims:
        if dim <= 0:
            raise SizeError(f"All dimensions passed to a matryoshka loss must be > 0; got {dim}")
        if dims.count(dim) > 1:
            raise SizeError(f"matryoshka_dims lists {dim} twice; weigh a size with matryoshka_weights instead")
        if width is not None and dim > width:
            raise SizeError(
                f"Dimensions in matryoshka_dims cannot exceed the model's embedding dimension of {width}; got {dim}"
            )
    if len(weights) != len(dims):
        raise SizeError(
            "matryoshka_weights must be the same length as matryoshka_dims: "
            f"{len(weights)} weights stand beside {len(dims)} dims"
        )
    if n_dims_per_step == 0 or n_dims_per_step < -1:
        raise SizeError(f"n_dims_per_step is {n_dims_per_step}; give a number of sizes, or -1 for all")
    if full and width is not None and width not in dims:
        logger.warning(
            "The model's embedding dimension %s is not included in matryoshka_dims: %s. This means that the full "
            "model dimension won't be trained, which may lead to degraded performance when using the model without "
            "specifying a lower truncation dimension. It is strongly recommended to include %s in matryoshka_dims.",
            width,
            dims,
            width,
        )


def shares_work(loss: Any, kind: Any) -> bool:
    """Whether `loss` is plain softmax over cosines, from each query to all documents: what `nested_info_nce` does."""
    # Exactly this class: a subclass may compute something else.
    return (
        type(loss) is kind
        and loss.similarity_fct in (cos_sim, pytorch_cos_sim)
        and loss.directions == ("query_to_doc",)
        and not loss.gather_across_devices
        and (loss.hardness_mode is None or loss.hardness_strength == 0)
    )


def in_batch_softmax(
    loss: Any, queries: torch.Tensor, documents: torch.Tensor, dims: tuple[int, ...], begin: int = 0
) -> list[torch.Tensor]:
    """The loss at every prefix, the queries' own documents beginning at row `begin`."""
    targets = torch.arange(begin, begin + len(queries), device=queries.device)
    return nested_info_nce(queries, documents, dims, scale=loss.scale, targets=targets)


def _cached_in_batch_softmax(
    loss: Any, reps: list[list[torch.Tensor]], weights: dict[int, float]
) -> dict[int, torch.Tensor]:
    """A few queries at a time against all documents, with their backward pass, so that memory stays bounded."""
    count = sum(map(len, reps[0]))
    sums: dict[int, torch.Tensor] = {}
    for begin in range(0, count, loss.mini_batch_size):
        queries = torch.cat(reps[0])[begin : begin + loss.mini_batch_size]
        documents = torch.cat([rows for column in reps[1:] for rows in column])
        terms = in_batch_softmax(loss, queries, documents, tuple(weights), begin)
        shares = {dim: term * (len(queries) / count) for dim, term in zip(weights, terms, strict=True)}
        if torch.is_grad_enabled():
            torch.stack([weights[dim] * share for dim, share in shares.items()]).sum().backward()
        sums = {dim: sums.get(dim, 0) + share.detach() for dim, share in shares.items()}
    return sums


def _cached_one_by_one(
    loss: Any, reps: list[list[torch.Tensor]], weights: dict[int, float], rest: tuple[Any, ...], options: dict[str, Any]
) -> dict[int, torch.Tensor]:
    """The loss runs its own backward pass up to each prefix; ours goes on from there, through the cut."""
    terms, backward = {}, torch.is_grad_enabled()
    for dim, weight in weights.items():
        cut = [[normalized_prefix(rows, dim) for rows in column] for column in reps]
        leaves = [[rows.detach().requires_grad_(backward) for rows in column] for column in cut]
        terms[dim] = loss.calculate_loss(leaves, *rest, **options).detach()
        for rows, leaf in zip(itertools.chain(*cut), itertools.chain(*leaves), strict=True):
            if leaf.grad is not None:
                rows.backward(weight * leaf.grad)
    return terms


def _cut_labels(labels: Any, width: int | None, dim: int) -> Any:
    """Labels that are embeddings (distillation) are cut like the predictions; all others stay as they are."""
    embeds = isinstance(labels, torch.Tensor) and labels.ndim in (2, 3) and labels.shape[-1] == width
    return labels[..., :dim] if embeds else labels
