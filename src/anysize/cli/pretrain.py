"""``anysize pretrain``: an encoder learns from text alone; the result is the base of a later ``fit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

if TYPE_CHECKING:
    from anysize.text.pretrained import Pretrained


@dataclass
class Pretrain:
    """
    Train an encoder on unlabelled TEXT and write it to --out, for `anysize fit --model` to start from.

    TEXT is a .txt file, whose texts are its paragraphs (its lines, if no line is blank); a folder of such files; a
    jsonl, csv or parquet file with a column text; or any other data with texts in it.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TEXT")]
    """What to learn from."""
    out: str
    """Where to write the encoder, as an ordinary checkpoint."""
    method: str = "smae"
    """smae, or its rival mlm; the options below are this method's."""
    resume: bool = False
    """Continue a run that was interrupted."""
    options: ClassVar[Any]
    """The method, which `with_options` makes a field of its own kind."""

    def run(self) -> PretrainedAt:
        """Train and save."""
        import os
        from pathlib import Path

        from anysize.cli.notes import tell
        from anysize.core.files import check_replaceable
        from anysize.core.plain_text import read_texts
        from anysize.core.pretraining import pretrain

        check_replaceable(Path(os.path.abspath(self.out)), self.options.marker)  # before the text is read
        data = read_texts(self.data)
        tell(data.notes)
        made = pretrain(data, method=self.options, out=self.out, resume=self.resume)
        return PretrainedAt(self.out, made, data.notes)


@dataclass(frozen=True)
class PretrainedAt:
    """What was made, and where."""

    out: str
    made: Pretrained
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """What it learnt from, the losses of each size, and the next command."""
        about = self.made.about
        lines = [f"{self.out}: {about['method']}, learnt from {about['windows']} windows, {about['tokens']} tokens"]
        for size, terms in about["losses_by_size"].items():
            lines.append(f"  {size}: " + ", ".join(f"{name} {value:.3f}" for name, value in terms.items()))
        menu = ",".join(f"{size['layers']}:{size['dims']}" for size in about["sizes"]["sizes"])
        return "\n".join(
            [*lines, f"next: anysize fit PAIRS --method starbucks --model {self.out} --sizes {menu} --out MODEL"]
        )

    def to_json(self) -> dict[str, Any]:
        """How it was made."""
        return {"out": self.out, "about": self.made.about, "notes": list(self.notes)}


def command(words: Sequence[str]) -> type[Pretrain]:
    """The verb's dataclass with the fields of the method that `words` names."""
    from anysize.cli.fit import with_options

    return with_options(Pretrain, "pretrainers", words)
