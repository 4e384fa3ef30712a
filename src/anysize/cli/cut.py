"""``anysize cut``: a standalone smaller model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro


@dataclass
class Cut:
    """Write one size of a model as a standalone model in the ecosystem's own format, which loads without anysize."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A model that `anysize fit` wrote."""
    size: str
    """The size to cut out, for example dims=64 or layers=3,dims=96, or its name."""
    out: str
    """Where to write it."""
    task: str | None = None
    """Of a model with an adapter per task: the task to cut out."""

    def run(self) -> WasCut:
        """Load at that size and write it."""
        from anysize.cli.tasks import for_task
        from anysize.core.files import new_directory
        from anysize.core.model import NestedModel
        from anysize.core.registry import load

        model: Any = for_task(load(self.model, self.size), self.task, self.model)
        if hasattr(model, "export"):  # a family with a format of its own
            return WasCut(self.out, model.size, model.export(self.out))
        size, small = model.size, model.extract()
        if isinstance(small, NestedModel):
            small.save(self.out)
            return WasCut(self.out, size, "anysize")
        from anysize.text.encoder import quiet

        with new_directory(self.out, marker="modules.json") as directory, quiet():
            small.save(str(directory), create_model_card=False)
        return WasCut(self.out, size, "sentence-transformers")


@dataclass(frozen=True)
class WasCut:
    """What was written where."""

    out: str
    size: Any
    format: str

    def text(self) -> str:
        """One line, and how to load it."""
        how = {
            "sentence-transformers": f'SentenceTransformer("{self.out}")',
            "SAELens": f'sae_lens.SAE.load_from_disk("{self.out}")',
            "anysize": f'anysize.load("{self.out}")',
        }
        article = "an" if self.format == "anysize" else "a"
        return f"{self.out}: {self.size} as {article} {self.format} model; load it with {how[self.format]}"

    def to_json(self) -> dict[str, Any]:
        """Place, size and format."""
        return {"out": self.out, "size": dict(self.size), "format": self.format}
