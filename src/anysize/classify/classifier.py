"""A saved classifier that runs at any trained size: MRL or MRL-E heads over features (Kusupati et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch

from anysize.classify.heads import MRLHead
from anysize.core.arguments import ROWS, expect
from anysize.core.errors import DataError, SizeError
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


class Classifier(NestedModel):
    """
    Logits at any trained size: ``model.at(dims=64)(features)`` has shape (n, classes).

    Inputs are features (n, in_features), or their first columns as far as the size reads; with a `backbone`, whatever
    that module turns into such features. The backbone is the caller's: it is trained and moved with the model but not
    saved, so set ``model.backbone`` again after loading. `classes` names the classes in the order of the logits.
    """

    kind = "classifier"
    evaluators = ("accuracy",)

    def __init__(
        self,
        nesting: Nesting,
        in_features: int,
        classes: Sequence[str | int],
        *,
        efficient: bool = False,
        per_dim_bias: bool = False,
        backbone: torch.nn.Module | None = None,
    ) -> None:
        super().__init__(nesting)
        if nesting.axes != ("dims",):
            raise SizeError(f"a classifier is nested in dims; got {', '.join(nesting.axes)}")
        if len(set(classes)) != len(classes):
            raise DataError("a class is named twice; give every class once")
        self.classes = tuple(classes)
        self.head = MRLHead(
            in_features, len(classes), nesting.values("dims"), efficient=efficient, per_dim_bias=per_dim_bias
        )
        self.backbone = backbone

    def features(self, inputs: Any) -> torch.Tensor:
        """
        What the head reads: the backbone's output, or the array or tensor itself, as float.

        Raises `DataError` for values that are not finite.
        """
        if self.backbone is not None:
            return self.backbone(inputs)
        held = expect(inputs, ROWS, "the features")
        found = torch.as_tensor(np.array(held) if isinstance(held, np.ndarray) else held)
        found = found if found.is_floating_point() else found.float()
        found = found.to(self.head.biases[0])
        if not torch.isfinite(found).all():
            raise DataError("the features hold NaN or infinite values; remove those rows")
        return found

    def outputs(self, example: Any, sizes: tuple[Size, ...] | None = None) -> dict[Size, torch.Tensor]:
        """Logits (n, classes) at every size from one pass of the backbone; gradients flow."""
        asked = self.nesting.resolve_all(sizes)
        logits = self.head(self.features(example), [size.dims for size in asked])
        return dict(zip(asked, logits, strict=True))

    @torch.no_grad()
    def probabilities(self, inputs: Any) -> np.ndarray:
        """Softmax over the classes at this view's size, (n, classes) float32."""
        return torch.softmax(self(inputs).float(), dim=1).cpu().numpy()

    def predict(self, inputs: Any) -> np.ndarray:
        """The most probable of `classes` for each row, (n,)."""
        return np.asarray(self.classes)[self.probabilities(inputs).argmax(1)]

    def places(self, labels: Sequence[str | int] | np.ndarray) -> torch.Tensor:
        """Labels as places in `classes`, (n,) int64. Raises `DataError` for a label that is not a class."""
        table = {name: place for place, name in enumerate(self.classes)}
        listed = labels.tolist() if isinstance(labels, np.ndarray) else labels
        unknown = next((label for label in listed if label not in table), None)
        if unknown is not None:
            raise DataError(f"{unknown!r} is none of the {len(table)} classes of this classifier")
        return torch.tensor([table[label] for label in listed], dtype=torch.int64)

    def cost(self) -> Cost:
        """Bytes of one stored float32 feature prefix; parameters and FLOPs of the one head that runs."""
        products = self.size.dims * len(self.classes)
        return Cost(bytes=4 * self.size.dims, parameters=products + len(self.classes), flops=2 * products)

    def extract(self, size: Size | str | None = None, /, **axes: int) -> Self:
        """A smaller classifier with only the weights of that size; it keeps using the same backbone."""
        small: Self = super().extract(size, **axes)
        small.backbone = self.backbone
        return small

    # Saving

    def config(self) -> dict[str, Any]:
        """Width of the features, names of the classes, and which kind of head."""
        head = self.head
        return {
            "in_features": head.in_features,
            "classes": list(self.classes),
            "efficient": head.efficient,
            "per_dim_bias": head.per_dim_bias,
        }

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Self:
        """A classifier of that shape, without a backbone."""
        options = {name: config[name] for name in ("efficient", "per_dim_bias")}
        return cls(nesting, config["in_features"], config["classes"], **options)

    def saved_state(self) -> dict[str, torch.Tensor]:
        """The head alone: the backbone is the caller's."""
        return {name: value for name, value in self.state_dict().items() if name.startswith("head.")}

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """The tied matrix (classes, dims) is cut in its columns."""
        return {"head.weights.0": ("dims", 1)} if self.head.efficient else {}

    def owned_tensors(self) -> dict[str, Size]:
        """Independent heads, and biases of their own, belong to one size each."""
        owned = {}
        for place, dims in enumerate(self.head.dims):
            if not self.head.efficient:
                owned[f"head.weights.{place}"] = Size(dims=dims)
            if not self.head.efficient or self.head.per_dim_bias:
                owned[f"head.biases.{place}"] = Size(dims=dims)
        return owned
