"""What is saved beside the codes, without which they mean nothing: the scheme, the layers, the widths trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anysize.core.errors import CheckpointError
from anysize.quantize.codes.scheme import LAYOUTS, Scheme


@dataclass(frozen=True)
class Plan:
    """Which layers of a model are stored as codes, and how."""

    scheme: Scheme
    layers: tuple[str, ...]
    """Names within the inner model."""
    trained_bits: tuple[int, ...]
    """Widths that training looked at; others of the nesting are interpolated."""
    layout: str = "planes"
    transformed: tuple[str, ...] = ()
    """Layers with OmniQuant's scale and shift of their inputs."""

    def text(self) -> str:
        """In a line: how many layers, their codes, the widths trained, the layout."""
        scheme = self.scheme
        group = "output channel" if scheme.group_size is None else f"{scheme.group_size} input features"
        how = f"{scheme.mode}, {'symmetric' if scheme.symmetric else 'asymmetric'}, a scale per {group}"
        return (
            f"{len(self.layers)} layers in {scheme.parent_bits} bits ({how}), "
            f"trained at {', '.join(map(str, self.trained_bits))}, stored as {self.layout}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return {
            "quantization": {
                "quant_method": "matquant",
                "scheme": self.scheme.to_json(),
                "trained_bits": list(self.trained_bits),
                "layout": self.layout,
                "layers": list(self.layers),
                "transformed": list(self.transformed),
            }
        }

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> Plan:
        """Read what `to_json` wrote. Raises `CheckpointError` where something is missing or unknown."""
        try:
            value = config["quantization"]
            plan = cls(
                scheme=Scheme.from_json(value["scheme"]),
                layers=tuple(value["layers"]),
                trained_bits=tuple(value["trained_bits"]),
                layout=value["layout"],
                transformed=tuple(value["transformed"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"the model does not say how it was quantised ({error}); it may be damaged") from None
        if plan.layout not in LAYOUTS:
            raise CheckpointError(f"the model's layout {plan.layout!r} is not one of {', '.join(LAYOUTS)}")
        return plan
