"""What a run took, beside what it gave: any model may tell, and whatever it tells is shown without being understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class Reported(list[Any]):
    """
    Outputs of `NestedModel.run`, one for each item, with what each of them took.

    `took` holds for each item a name that ends in its unit, or is one, and a number: ``{"tokens": 16,
    "ms_to_first_token": 41.2}``, ``{"real_time_factor": 0.2}``. Raises `ValueError` if it is not as long.
    """

    def __init__(self, outputs: Iterable[Any] = (), took: Iterable[Mapping[str, float]] = ()) -> None:
        super().__init__(outputs)
        self.took = [dict(one) for one in took]
        if len(self) != len(self.took):
            raise ValueError(f"{len(self)} outputs, and {len(self.took)} of which is told what they took")

    def add(self, more: Reported) -> None:
        """Put more outputs behind these."""
        self.extend(more)
        self.took += more.took


def took(outputs: Sequence[Any]) -> list[dict[str, float]]:
    """What each output took; nothing of a model that does not tell."""
    return outputs.took if isinstance(outputs, Reported) else [{} for _ in range(len(outputs))]


def took_in_words(told: Sequence[Mapping[str, float]]) -> str:
    """``16 tokens, 41.2 ms to first token``; of several items the mean; empty where nothing was told."""
    words = []
    for name in dict.fromkeys(name for one in told for name in one):
        values = [one[name] for one in told if name in one]
        mean = sum(values) / len(values)
        number = f"{mean:,.0f}" if mean.is_integer() or mean >= 1000 else f"{mean:.3g}"
        words.append(f"{number} {_one_of(name) if mean == 1 else name.replace('_', ' ')}")
    return ", ".join(words) + (" on average" if words and len(told) > 1 else "")


def _one_of(name: str) -> str:
    """``audio_tokens`` -> ``audio token``, ``seconds_of_speech`` -> ``second of speech``."""
    words = name.split("_")
    head = next((place for place, word in enumerate(words) if word in ("of", "a", "an", "to")), len(words)) - 1
    one = words[head].removesuffix("s") if words[head] != "ms" else "ms"
    return " ".join([*words[:head], one, *words[head + 1 :]])
