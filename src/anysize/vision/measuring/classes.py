"""Measuring image encoders by labels: k-NN, a linear probe, and clusters, at every size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.faces import Embeds
from anysize.core.verbs.evaluator import Evaluator, Scores, Task
from anysize.evaluation.once import FeaturesOnce
from anysize.vision.measuring.clustering import k_means, logistic, votes
from anysize.vision.splitting import left_out

if TYPE_CHECKING:
    from anysize.core.data.data import Data


class _Labelled:
    """Pictures, their classes as numbers, and which are asked about."""

    def __init__(self, data: Data, asked: np.ndarray) -> None:
        labels = data.labels or []
        self.classes = sorted(set(labels), key=str)
        if len(self.classes) < 2:
            raise DataError(f"the pictures of {data.name} are all of one class; give at least two")
        places = {name: place for place, name in enumerate(self.classes)}
        self.labels = torch.tensor([places[one] for one in labels])
        self.targets = functional.one_hot(self.labels, len(self.classes)).float()
        self.asked = torch.from_numpy(asked)
        self.features = FeaturesOnce(data.items(), tasks=("classification",), sides=(None,))

    def vectors(self, view: Embeds) -> torch.Tensor:
        """Unit vectors (n, dims) at the view's size."""
        return torch.from_numpy(view.project(self.features.of(view)[0]))

    def right(self, said: torch.Tensor) -> np.ndarray:
        """Which of the asked pictures have their class the likeliest, (m,)."""
        found: np.ndarray = (said.argmax(1) == self.labels[self.asked]).double().numpy()
        return found


class _ByLabels(Evaluator):
    face: ClassVar[type] = Embeds
    needs = "pictures of two classes or more, in a folder for each or a table with labels"
    said: ClassVar[str]

    def accepts(self, data: Data) -> bool:
        """Whether these are pictures, and every one has a label."""
        return data.labels is not None and data.items().of == "image"

    def asks(self, data: Data, held_out: bool) -> np.ndarray:
        """Which pictures are asked about, (n,) bool: a fifth that is left out."""
        return left_out(data.items())

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """The pictures, and which of them are asked about. Raises `DataError` for a single class."""
        on = _Labelled(data, self.asks(data, held_out))
        said = f"{self.said} of {int(on.asked.sum())} pictures among {len(on.labels)}, {len(on.classes)} classes"
        return Task(said, "accuracy", "pictures", on)

    def told(self, rows: torch.Tensor, on: _Labelled) -> torch.Tensor:
        """(m, classes) of the asked."""
        raise NotImplementedError

    def score(self, view: Embeds, task: Task) -> Scores:
        """The share of pictures whose class is told; the projection of one vector is timed."""
        on: _Labelled = task.on
        right = on.right(self.told(on.vectors(view), on))
        return Scores({"accuracy": right}, run=partial(view.project, on.features.of(view)[0][:1]))


@dataclass(frozen=True)
class KNNEvaluator(_ByLabels):
    """
    Accuracy of the k nearest pictures' vote, each weighed by exp(cosine / temperature), as DINO and Franca report it.

    Every picture is asked among all others; of what labels were learnt from, the fifth that was left out.
    """

    k: int = 20
    """How many neighbours vote."""
    temperature: float = 0.07
    """How fast a vote fades with the cosine."""
    said = "k-NN classification"

    def __post_init__(self) -> None:
        if self.k < 1 or not self.temperature > 0:
            raise AnysizeError(f"k and temperature are above zero; got {self.k} and {self.temperature}")

    def asks(self, data: Data, held_out: bool) -> np.ndarray:
        """All, unless their labels were learnt from."""
        return left_out(data.items()) if held_out else np.ones(len(data.items()), bool)

    def told(self, rows: torch.Tensor, on: _Labelled) -> torch.Tensor:
        """Votes of the others."""
        if bool(on.asked.all()):
            everyone = torch.arange(len(rows))
            return votes(rows, rows, on.targets, k=self.k, temperature=self.temperature, itself=everyone)
        bank = rows[~on.asked]
        return votes(rows[on.asked], bank, on.targets[~on.asked], k=self.k, temperature=self.temperature)


@dataclass(frozen=True)
class LinearEvaluator(_ByLabels):
    """Accuracy of a linear probe (multinomial regression) on a fifth of the pictures, learnt on the others."""

    decay: float = 1e-3
    """Weight of the squared coefficients."""
    said = "linear probing"

    def told(self, rows: torch.Tensor, on: _Labelled) -> torch.Tensor:
        """Logits."""
        return logistic(rows[~on.asked], on.targets[~on.asked], rows[on.asked], self.decay)


@dataclass(frozen=True)
class ClustersEvaluator(_ByLabels):
    """Purity of k-means: the share of pictures that have the commonest class of their cluster."""

    k: int | None = None
    """How many clusters. Default: as many as there are classes."""
    said = "clusters"

    def asks(self, data: Data, held_out: bool) -> np.ndarray:
        """All, unless their labels were learnt from."""
        return left_out(data.items()) if held_out else np.ones(len(data.items()), bool)

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """The pictures that are asked about are the ones that are clustered."""
        task = super().prepare(data, held_out)
        task.metric = "purity"
        return task

    def score(self, view: Embeds, task: Task) -> Scores:
        """The share of pictures in the class of their cluster."""
        on: _Labelled = task.on
        rows, labels = on.vectors(view)[on.asked], on.labels[on.asked]
        places = k_means(rows, self.k or len(on.classes))
        counts = torch.zeros(int(places.max()) + 1, len(on.classes))
        counts.index_put_((places, labels), torch.ones(len(labels)), accumulate=True)
        pure = (counts.argmax(1)[places] == labels).double().numpy()
        return Scores({"purity": pure}, run=partial(view.project, on.features.of(view)[0][:1]))
