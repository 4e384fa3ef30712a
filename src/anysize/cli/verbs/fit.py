"""``anysize fit``: the options of the chosen method stand among the verb's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, ClassVar

import tyro


@dataclass
class Fit:
    """
    Make a model nested: learn from DATA and write the result to --out.

    DATA is a folder in BEIR layout; a jsonl, json, csv or parquet file with columns anchor, positive[, negative] or
    text, or common names for these; a .npy, .npz or .safetensors of vectors, or a folder of .npy shards; or the name
    of a data set on the hub. For smae and mlm, which pretrain on unlabelled text, also a .txt file, whose texts are its
    paragraphs (its lines, if no line is blank), or a folder of such files.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """What to learn from."""
    out: str
    """Where to write the model."""
    method: str = "mrl"
    """Which system; the options below are this method's."""
    resume: bool = False
    """Continue a run that was interrupted."""
    options: ClassVar[Any]
    """The method, which `command` makes a field of its own kind."""

    def run(self) -> Fitted:
        """Fit and save."""
        import os
        from pathlib import Path

        from anysize.cli.notes import read_told
        from anysize.core.files import check_replaceable
        from anysize.core.verbs.fit import fit

        check_replaceable(Path(os.path.abspath(self.out)), self.options.marker)  # before the data is read
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
    from anysize.core.registry import find

    method = find("methods", _method(words, Fit.method))
    # An empty prefix name sets the method's options beside the verb's own: --dims, not --options.dims.
    flat: Any = Annotated[method, tyro.conf.arg(name="")]
    made = make_dataclass("Fit", [("options", flat, field(default_factory=method))], bases=(Fit,), kw_only=True)
    made.__doc__ = f"{Fit.__doc__}\n\n{method.__doc__}"
    return made


def _method(words: Sequence[str], default: str) -> str:
    for position, word in enumerate(words):
        if word == "--method" and position + 1 < len(words):
            return words[position + 1]
        if word.startswith("--method="):
            return word.partition("=")[2]
    return default
