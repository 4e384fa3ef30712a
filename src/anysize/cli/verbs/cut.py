"""``anysize cut``: a standalone smaller model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from anysize.core.engine_checks import Exported


@dataclass
class Cut:
    """Write one size of a model as a standalone model in the ecosystem's own format, which loads without anysize."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A model that `anysize fit` wrote."""
    size: str
    """The size to cut out, for example dims=64 or layers=3,dims=96, or its name."""
    out: str
    """Where to write it."""
    format: str | None = None
    """Of a quantised model: safetensors (ordinary, with float weights; the default), onnx, gguf or
    compressed-tensors (with the codes). Of a sparse autoencoder: saelens (the default) or sparse-encoder (with the
    encoder of texts that it was fitted on)."""
    task: str | None = None
    """Of a model with an adapter per task: the task to cut out."""

    def run(self) -> WasCut:
        """Load at that size and write it."""
        from anysize.cli.tasks import for_task
        from anysize.core.engine_checks import Exported
        from anysize.core.errors import AnysizeError
        from anysize.core.verbs.load import load

        model = for_task(load(self.model, self.size), self.task, self.model)
        if self.format is not None and self.format not in model.exports:
            there = ", ".join(model.exports)
            choice = f"expected one of {there}" if there else "which has one format; leave out --format"
            raise AnysizeError(f"--format {self.format} for a model of kind {model.kind!r}; {choice}")
        if model.exports:
            return WasCut(self.out, model.size, model.export(self.out, self.format))
        model.extract().save(self.out)
        return WasCut(self.out, model.size, Exported("anysize", how=f'anysize.load("{self.out}")'))


@dataclass(frozen=True)
class WasCut:
    """What was written where."""

    out: str
    size: Any
    made: Exported

    def text(self) -> str:
        """What it is, how to load it, and what checked it."""
        article = "an" if self.made.format in ("anysize", "SAELens") else "a"
        line = f"{self.out}: {self.size} as {article} {self.made.format} model; load it with {self.made.how}"
        return "\n".join([line, *self.made.lines()])

    def to_json(self) -> dict[str, Any]:
        """Place, size, format, checks and notes."""
        return {"out": self.out, "size": dict(self.size), "format": self.made.format, **self.made.told()}
