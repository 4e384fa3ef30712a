"""Which adapters a model has, by the options that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anysize.core.errors import AnysizeError
from anysize.core.sizes.size import Size
from anysize.tokens.adapters.scale import Scaled


def adapted(lm: Any, scales: Sequence[Scaled], spec: Mapping[str, Any]) -> Any:
    """
    The `ScaleLoRA` or `Experts` that adapt a language model to scales, put into it; None for the kind none.

    Raises `AnysizeError` for a kind that there is not.
    """
    from anysize.tokens.adapters.experts import Experts
    from anysize.tokens.adapters.lora import ScaleLoRA

    kinds: dict[str, Any] = {"none": lambda *_: None, "lora": ScaleLoRA, "mome": Experts}
    if spec["kind"] not in kinds:
        raise AnysizeError(f"a language model is adapted by lora, mome or none; got {spec['kind']!r}")
    return kinds[spec["kind"]](lm, scales, spec)


def any_scale(spec: Mapping[str, Any]) -> bool:
    """Whether adapters serve all scales, also untrained ones: none of them, nor a router, belongs to one."""
    return spec.get("strategy", "ms") == "ms" and spec.get("router", "shared") == "shared"


def owned(adapters: Any, lm: str) -> dict[str, Size]:
    """Names of weights -> the smallest size that needs them, where not all do; the language model lies at `lm`."""
    if adapters is None:
        return {}
    home = lm if adapters.inside else "adapters"
    return {f"{home}.{name}": size for name, size in adapters.owned().items()}


def learnt(adapters: Any, lm: str) -> set[str]:
    """Names of an adapter's weights, as `owned` has them."""
    if adapters is None:
        return set()
    return {f"{lm if adapters.inside else 'adapters'}.{name}" for name in adapters.weights()}
