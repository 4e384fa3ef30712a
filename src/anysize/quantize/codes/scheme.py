"""How weights become codes: width of the parent code, slice mode, groups, symmetry. It is saved with the codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from anysize.core.arguments import expect, whole
from anysize.core.errors import AnysizeError, CheckpointError, SizeError
from anysize.quantize.codes.slicing import MODES, check_mode

LAYOUTS = ("planes", "uint8")
"""How codes are stored: a bit of each a plane, so that narrow widths read less; or a byte a code."""


@dataclass(frozen=True)
class Scheme:
    """Raises `AnysizeError` or `SizeError` for values that describe no code."""

    parent_bits: int = 8
    """Width c of the code from which every narrower one is cut."""
    mode: str = "round_clamp"
    """How it is cut; see `slice_bits`. Decoding with another mode than the trained one spoils narrow widths."""
    group_size: int | None = None
    """Input features that share a scale; None is one scale per output channel, as in the paper."""
    symmetric: bool = True
    """Zero-point fixed at the middle, 2^(c-1), which every width holds as a whole number. The paper's is not fixed."""

    def __post_init__(self) -> None:
        check_mode(self.mode)
        for name, value in (("parent_bits", self.parent_bits), ("group_size", self.group_size)):
            if value is not None or name == "parent_bits":
                expect(value, whole(), name.replace("_", "-"))
        least = 2 if self.symmetric else 1
        if not least <= self.parent_bits <= 8:
            raise SizeError(f"a parent code has {least} to 8 bits; got {self.parent_bits}")
        if self.group_size is not None and self.group_size < 1:
            raise AnysizeError(f"a group holds at least 1 input feature; got group-size {self.group_size}")

    def groups(self, features: int, name: str) -> int:
        """Scales per output channel. Raises `AnysizeError` if the features do not fill whole groups."""
        if self.group_size is None:
            return 1
        if features % self.group_size:
            raise AnysizeError(
                f"{name} has {features} input features, no multiple of group-size {self.group_size}; choose a divisor"
            )
        return features // self.group_size

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Scheme:
        """Read what `to_json` wrote. Raises `CheckpointError` if the slice mode is missing or unknown."""
        if value.get("mode") not in MODES:
            said = "does not record its slice mode" if "mode" not in value else f"has slice mode {value['mode']!r}"
            raise CheckpointError(
                f"the model {said}; expected one of {', '.join(MODES)}, for guessing would spoil its narrow widths"
            )
        try:
            return cls(**value)
        except (TypeError, AnysizeError) as error:
            raise CheckpointError(f"the model's quantisation scheme cannot be read ({error})") from None
