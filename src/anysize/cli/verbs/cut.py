"""``anysize cut``: one size of a model, standing alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from anysize.cli.options import Positional

if TYPE_CHECKING:
    from anysize.cli.shrunk import Shrunk
    from anysize.core.engine_checks import Exported


@dataclass
class Cut:
    """Write one size of a model as a standalone model in the ecosystem's own format, which loads without anysize."""

    model: Annotated[str, Positional("MODEL")]
    """A model that `anysize fit` wrote."""
    out: Annotated[str, "PATH"]
    """Where to write it."""
    size: str | None = None
    """The size to cut out, for example dims=64 or layers=3,dims=96, also 64 or 3:96, or its name; the full one unless
    given."""
    format: str | None = None
    """One of the formats that models of this kind have, for example onnx, gguf, saelens or csv; the first unless given.
    A name that is none of them lists them."""
    task: str | None = None
    """Of a model with an adapter per task: the task to cut out."""
    options: ClassVar[Any] = None
    """Those of the format, where `command` makes them a field."""

    def run(self) -> WasCut:
        """Load at that size and write it."""
        from anysize.cli.notes import tell
        from anysize.cli.shrunk import Held, Shrunk
        from anysize.core.engine_checks import Exported
        from anysize.core.errors import AnysizeError, nearest
        from anysize.core.files import README, in_one_step
        from anysize.core.verbs.card import cut_card, frontier_beside, kept
        from anysize.core.verbs.load import load

        source, target = Path(self.model), Path(self.out)
        figures = frontier_beside(source)
        model = load(self.model, self.size).for_task(self.task)
        if self.format is not None and self.format not in model.exports:
            choice = nearest(self.format, model.exports) if model.exports else "it has one format; leave out --format"
            raise AnysizeError(f"a model of kind {model.kind!r} has no format {self.format!r}; {choice}")
        before = Held.of(source)
        tell(kept(target))
        with in_one_step(target.absolute()) as folder:
            if model.exports:
                more = {} if self.options is None else vars(self.options)
                done = model.export(folder, self.format, **more)
                made = replace(done, how=done.how.replace(str(folder), self.out))
            else:
                model.extract().save(folder)
                made = Exported("anysize", how=f'anysize.load("{self.out}")')
            (folder / README).write_bytes(cut_card(target.name, model.size, made, model.about, figures))
        return WasCut(self.out, model.size, made, Shrunk(before, Held.of(target)))


def command(words: Sequence[str]) -> type[Cut]:
    """The verb's dataclass, with the options of the format beside its own, where `words` name a model that has some."""
    from anysize.cli.parsing import value_of
    from anysize.core.files import read_object
    from anysize.core.model.manifest import MANIFEST
    from anysize.core.registry import find, named, names

    model = next((word for word in words if (Path(word) / MANIFEST).is_file()), None)
    kind = None if model is None else read_object(Path(model) / MANIFEST, "an anysize model").get("kind")
    if kind not in names("models"):
        return Cut  # `load` says what is wrong
    found = find("models", kind)
    form = value_of("--format", words) or next(iter(found.exports), None)
    if form not in found.export_options:
        return Cut
    options: Any = named(found.export_options[form])
    held = field(default_factory=options, metadata={"options": (form, options)})
    return make_dataclass("Cut", [("options", options, held)], bases=(Cut,), kw_only=True)


@dataclass(frozen=True)
class WasCut:
    """What was written where."""

    out: str
    size: Any
    made: Exported
    shrunk: Shrunk

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
                f"Its vectors are smaller, its encoder is not ({self.shrunk.after.bytes / 1e6:,.1f} MB): to cut that "
                "too, fit with --method starbucks or 2dmse for layers, or with --method matquant for bits"
            )
        return "\n".join([*lines, *self.shrunk.lines(), *self.made.lines()])

    def to_json(self) -> dict[str, Any]:
        """Place, size, format, bytes, what there was before and after, checks and notes."""
        told = {
            "out": self.out,
            "size": self.size.to_json(),
            "format": self.made.format,
            "bytes": self.shrunk.after.bytes,
        }
        return {**told, **self.shrunk.to_json(), **self.made.told()}
