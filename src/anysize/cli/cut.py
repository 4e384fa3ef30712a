"""``anysize cut``: one size of a model, standing alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

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
        from anysize.core.errors import AnysizeError
        from anysize.core.exporting import EXPORT, write_note
        from anysize.core.files import new_directory
        from anysize.core.model import NestedModel
        from anysize.core.registry import load

        model: Any = for_task(load(self.model, self.size), self.task, self.model)
        formats = getattr(model, "formats", ())
        if self.format is not None and self.format not in formats:
            choice = f"expected one of {', '.join(formats)}" if formats else "which has one format; leave out --format"
            raise AnysizeError(f"--format {self.format} for a model of kind {model.kind!r}; {choice}")
        if hasattr(model, "export"):  # a family with formats of its own
            given = {} if self.format is None else {"form": self.format}
            written = model.export(self.out, **given)
            return WasCut(self.out, model.size, written.format, written)
        size, small = model.size, model.extract()
        if isinstance(small, NestedModel):
            small.save(self.out)
            return WasCut(self.out, size, "anysize")
        from anysize.core.quiet import quiet

        with new_directory(self.out, marker=EXPORT) as directory, quiet():
            small.save(str(directory), create_model_card=False)
            write_note(directory, "sentence-transformers", {"size": dict(size)})
        return WasCut(self.out, size, "sentence-transformers", whole_encoder=tuple(size) == ("dims",))


@dataclass(frozen=True)
class WasCut:
    """What was written where."""

    out: str
    size: Any
    format: str
    exported: Exported | None = None
    """What checked it, where a check was made."""
    whole_encoder: bool = False
    """Whether the vectors alone are smaller, and what makes them is as large as it was."""

    @property
    def bytes(self) -> int:
        """Bytes of what was written."""
        from pathlib import Path

        path = Path(self.out)
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file())

    def text(self) -> str:
        """What it is, how to load it, what checked it, and what is no smaller than before."""
        how = {
            "sentence-transformers": f'SentenceTransformer("{self.out}")',
            "SAELens": f'sae_lens.SAE.load_from_disk("{self.out}")',
            "SparseEncoder": f'sentence_transformers.SparseEncoder("{self.out}")',
            "anysize": f'anysize.load("{self.out}")',
            "transformers": f'AutoModelForCausalLM.from_pretrained("{self.out}")',
            "onnx": f'onnxruntime.InferenceSession("{self.out}/model.onnx")',
            "gguf": f"llama.cpp: -m {self.out}/model.gguf",
            "compressed-tensors": "transformers, sentence-transformers or vLLM, by its folder",
        }
        article = "an" if self.format in ("anysize", "SAELens") else "a"
        lines = [f"{self.out}: {self.size} as {article} {self.format} model; load it with {how[self.format]}"]
        if self.whole_encoder:
            lines.append(
                f"Its vectors are smaller, its encoder is not ({self.bytes / 1e6:,.1f} MB): to cut that too, fit "
                "with --method starbucks or 2dmse for layers, or with --method matquant for bits"
            )
        return "\n".join([*lines, *(self.exported.lines() if self.exported else [])])

    def to_json(self) -> dict[str, Any]:
        """Place, size, format, bytes, checks and notes."""
        return {
            "out": self.out,
            "size": dict(self.size),
            "format": self.format,
            "bytes": self.bytes,
            **(self.exported or Exported("")).told(),
        }
