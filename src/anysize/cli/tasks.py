"""What the verbs share that run a model with an adapter per task."""

from __future__ import annotations

from typing import Any


def for_task(model: Any, task: str | None, name: str) -> Any:
    """`model`, or its view for one task. Raises `AnysizeError` for a task that it lacks, or if it has none at all."""
    from anysize.core.errors import AnysizeError

    if task is None:
        return model
    if not hasattr(model, "for_task"):
        raise AnysizeError(f"{name} is a model of kind {model.kind!r}, without tasks; leave out --task")
    return model.for_task(task)
