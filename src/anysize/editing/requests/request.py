"""One edit: a prompt, the text that a model shall answer it with, and what shall hold beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anysize.core.arguments import shown
from anysize.core.errors import DataError


@dataclass(frozen=True)
class EditRequest:
    """
    What a model shall say to a prompt; the fields are EasyEdit's.

    Raises `DataError` for an empty prompt or target, and for a prompt that already holds the target.
    """

    prompt: str
    target_new: str
    rephrase_prompts: tuple[str, ...] = ()
    """The same question in other words."""
    locality_inputs: tuple[str, ...] = ()
    """Prompts whose answers shall stay as they are."""
    questions: tuple[tuple[str, str], ...] = ()
    """Questions about single facts of the target, with their answers."""
    id: str = ""

    def __post_init__(self) -> None:
        where = f"edit {self.id}: " if self.id else ""
        for name, value in (("prompt", self.prompt), ("target_new", self.target_new)):
            if not isinstance(value, str) or not value.strip():
                found = "empty" if value is None or isinstance(value, str) else shown(value)
                raise DataError(f"{where}{name} is {found}; expected the text that the model shall {_DOES[name]}")
        if self.target_new.strip() in self.prompt:
            raise DataError(
                f"{where}the prompt already holds the target, so the model would only repeat it; ask without the answer"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return {
            "id": self.id,
            "prompt": self.prompt,
            "target_new": self.target_new,
            "rephrase_prompts": list(self.rephrase_prompts),
            "locality_inputs": list(self.locality_inputs),
            "questions": [list(pair) for pair in self.questions],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> EditRequest:
        """What `to_json` gave."""
        lists = {name: tuple(value[name]) for name in ("rephrase_prompts", "locality_inputs")}
        pairs = tuple((str(asked), str(said)) for asked, said in value["questions"])
        return cls(value["prompt"], value["target_new"], **lists, questions=pairs, id=value["id"])


_DOES = {"prompt": "answer", "target_new": "say"}


def check_together(requests: Sequence[EditRequest]) -> None:
    """Raise `DataError` for the same edit twice, and for two targets of one prompt, naming both."""
    seen: dict[str, EditRequest] = {}
    for one in requests:
        other = seen.setdefault(one.prompt.strip(), one)
        if other is one:
            continue
        if other.target_new.strip() == one.target_new.strip():
            raise DataError(f"edits {other.id} and {one.id} are the same; give each edit once")
        raise DataError(
            f"edits {other.id} and {one.id} are in conflict: they give one prompt two answers; leave one of them out"
        )
