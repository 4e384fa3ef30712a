"""``anysize fit``: the options of the chosen method stand among the verb's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

if TYPE_CHECKING:
    from anysize.core.model import NestedModel


@dataclass
class Fit:
    """
    Make a model nested: learn from DATA and write the result to --out.

    DATA is a folder in BEIR layout; a jsonl, json, csv or parquet file with columns anchor, positive[, negative] or
    text, or common names for these; a .npy, .npz or .safetensors of vectors, or a folder of .npy shards; or the name
    of a data set on the hub.
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
    """The method, which `with_options` makes a field of its own kind."""

    def run(self) -> Fitted:
        """Fit and save."""
        import os
        from pathlib import Path

        from anysize.cli.notes import read_told
        from anysize.core.files import check_replaceable
        from anysize.core.fitting import fit
        from anysize.core.registry import MANIFEST

        check_replaceable(Path(os.path.abspath(self.out)), MANIFEST)  # before the data is read
        data = read_told(self.data)
        made = fit(data, method=self.options, out=self.out, resume=self.resume)
        return Fitted(self.out, made, data.notes)


@dataclass(frozen=True)
class Fitted:
    """What was made, and where."""

    out: str
    model: NestedModel
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """One line, and the next command."""
        rows, what = map(self.model.about.get, ("rows", "learnt_from"))
        learnt = f", learnt from {rows} {what}" if rows is not None and what is not None else ""
        return f"{self.out}: {self.model.nesting!r}{learnt}\nnext: anysize measure {self.out} DATA"

    def to_json(self) -> dict[str, Any]:
        """The nesting and how the model was made."""
        made = {"out": self.out, "nesting": self.model.nesting.to_json(), "about": self.model.about}
        return {**made, "notes": list(self.notes)}


def command(words: Sequence[str]) -> type[Fit]:
    """The verb's dataclass with the fields of the method that `words` names."""
    return with_options(Fit, "methods", words)


def with_options(verb: Any, group: str, words: Sequence[str]) -> Any:
    """The dataclass of a verb with the fields of the method of that group that `words` names beside its own."""
    from anysize.core.registry import find

    method = find(group, _method(words, verb.method))
    # An empty prefix name sets the method's options beside the verb's own: --dims, not --options.dims.
    flat: Any = Annotated[method, tyro.conf.arg(name="")]
    made = make_dataclass(
        verb.__name__, [("options", flat, field(default_factory=method))], bases=(verb,), kw_only=True
    )
    made.__doc__ = f"{verb.__doc__}\n\n{method.__doc__}"
    return made


def _method(words: Sequence[str], default: str) -> str:
    for position, word in enumerate(words):
        if word == "--method" and position + 1 < len(words):
            return words[position + 1]
        if word.startswith("--method="):
            return word.partition("=")[2]
    return default
