"""``anysize fit``: the options of the chosen method stand among the verb's own."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, ClassVar

from anysize.cli.options import Positional


@dataclass
class Fit:
    """
    Make a model nested: learn from DATA and write the result to --out.

    DATA is a folder in BEIR layout; a jsonl, json, csv or parquet file with columns anchor, positive[, negative] or
    text, or common names for these; a .npy, .npz or .safetensors of vectors, or a folder of .npy shards; a folder of
    pictures, sounds or films, perhaps one for each class, or such a table with paths of files; or the name of a data
    set on the hub. For smae and mlm, which pretrain on unlabelled text, also a .txt file, whose texts are its
    paragraphs (its lines, if no line is blank), or a folder of such files.
    """

    data: Annotated[str, Positional("DATA")]
    """What to learn from."""
    out: Annotated[str, "PATH"]
    """Where to write the model."""
    method: Annotated[str, "NAME"] = "mrl"
    """Which system; `anysize fit --method NAME --help` lists its own options."""
    resume: bool = False
    """Continue a run that was interrupted."""
    options: ClassVar[Any]
    """The method, which `command` makes a field of its own kind."""

    def run(self) -> Fitted:
        """Fit and save."""
        import os
        from pathlib import Path

        from anysize.cli.notes import read_told, tell
        from anysize.core.files import check_replaceable
        from anysize.core.verbs.card import kept
        from anysize.core.verbs.fit import fit

        target = Path(os.path.abspath(self.out))
        check_replaceable(target, self.options.marker)  # before the data is read
        tell(kept(target))
        data = read_told(self.data, self.options.reads)
        made = fit(data, method=self.options, out=self.out, resume=self.resume)
        return Fitted(self.out, made, self.options.told(made, self.out), data.notes)


@dataclass(frozen=True)
class Fitted:
    """What was made, and where."""

    out: str
    made: Any
    told: str
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """What the method tells of it, and the next command."""
        return self.told

    def to_json(self) -> dict[str, Any]:
        """The nesting and how the model was made."""
        made = {"out": self.out, "nesting": self.made.nesting.to_json(), "about": self.made.about}
        return {**made, "notes": list(self.notes)}


def command(words: Sequence[str]) -> type[Fit]:
    """The verb's dataclass with the fields of the method that `words` names beside its own."""
    from anysize.cli.parsing import asks_help, value_of
    from anysize.core.registry import find

    named = value_of("--method", words)
    name = Fit.method if named is None else named
    method = find("methods", name)
    options: Any = field(default_factory=method, metadata={"options": (name, method)})
    made = make_dataclass("Fit", [("options", method, options)], bases=(Fit,), kw_only=True)
    if asks_help(words):
        from anysize.cli.known import listed

        there = f"\n\n{listed()}" if named is None else ""
        said = inspect.cleandoc(method.__doc__ or "")
        made.__doc__ = f"{inspect.cleandoc(Fit.__doc__ or '')}{there}\n\n{name}: {said}\n\nPaper: {method.paper}"
    return made
