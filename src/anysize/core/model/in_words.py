"""A model on one line: its sizes, its bytes, and how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from anysize.core.shortly import bytes_in_words, sizes

if TYPE_CHECKING:
    import torch

    from anysize.core.sizes.nesting import Nesting
    from anysize.core.sizes.size import Size


def in_words(nesting: Nesting, size: Size, weights: Iterable[torch.Tensor], about: Mapping[str, Any]) -> str:
    """``dims=8,16; at dims=8; 1.2 MB of weights; mrl from all-MiniLM-L6-v2 on docs``, as far as it is known."""
    base, learnt = about.get("options", {}).get("model"), about.get("data", {}).get("name")
    made = [about.get("method"), base and f"from {base}", learnt and f"on {learnt}"]
    held = bytes_in_words(sum(tensor.numel() * tensor.element_size() for tensor in weights))
    told = [sizes(nesting), "" if size == nesting.full else f"at {size}", f"{held} of weights"]
    return "; ".join(part for part in [*told, " ".join(str(one) for one in made if one)] if part)
