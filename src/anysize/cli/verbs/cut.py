"""``anysize cut``: one size of a model, standing alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from anysize.cli.options import Positional

if TYPE_CHECKING:
    from anysize.core.engine_checks import Exported


@dataclass
class Cut:
    """Write one size of a model as a standalone model in the ecosystem's own format, which loads without anysize."""

    model: Annotated[str, Positional("MODEL")]
    """A model that `anysize fit` wrote."""
    size: str
    """The size to cut out, for example dims=64 or layers=3,dims=96, also 64 or 3:96, or its name."""
    out: Annotated[str, "PATH"]
    """Where to write it."""
    format: str | None = None
    """Of a quantised model: safetensors (ordinary, with float weights; the default), onnx, gguf or
    compressed-tensors (with the codes). Of a sparse autoencoder: saelens (the default) or sparse-encoder (with the
    encoder of texts that it was fitted on)."""
    task: str | None = None
    """Of a model with an adapter per task: the task to cut out."""

    def run(self) -> WasCut:
        """Load at that size and write it."""
        from anysize.core.engine_checks import Exported
        from anysize.core.errors import AnysizeError
        from anysize.core.verbs.load import load

        model = load(self.model, self.size).for_task(self.task)
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

    @property
    def bytes(self) -> int:
        """Bytes of what was written."""
        from pathlib import Path

        path = Path(self.out)
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file())

    @property
    def whole_encoder(self) -> bool:
        """Whether the vectors alone are smaller, and what makes them is as large as it was."""
        return self.made.format == "sentence-transformers" and tuple(self.size) == ("dims",)

    def text(self) -> str:
        """What it is, how to load it, what checked it, and what is no smaller than before."""
        article = "an" if self.made.format in ("anysize", "SAELens") else "a"
        lines = [f"{self.out}: {self.size} as {article} {self.made.format} model; load it with {self.made.how}"]
        if self.whole_encoder:
            lines.append(
                f"Its vectors are smaller, its encoder is not ({self.bytes / 1e6:,.1f} MB): to cut that too, fit "
                "with --method starbucks or 2dmse for layers, or with --method matquant for bits"
            )
        return "\n".join([*lines, *self.made.lines()])

    def to_json(self) -> dict[str, Any]:
        """Place, size, format, bytes, checks and notes."""
        told = {"out": self.out, "size": self.size.to_json(), "format": self.made.format, "bytes": self.bytes}
        return {**told, **self.made.told()}
