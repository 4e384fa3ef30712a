"""A method: how a model is made nested. Its fields are its options; the work stands elsewhere, by name."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from anysize.core.errors import AnysizeError
from anysize.core.model.manifest import MANIFEST
from anysize.core.registry import find, named, names
from anysize.core.scratch import temporary_folder
from anysize.core.training.plan import check_reporters

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.training.left_out import Judge


@dataclass(frozen=True)
class Method:
    """
    What every method has in common; a family adds the options as fields, and the function that does the work.

    Options are checked, and shown by ``--help``, without importing what the work needs. The first line of the docstring
    is what a list of methods says of it.
    """

    name: ClassVar[str]
    """The name under which it is registered in the entry-point group ``anysize.methods``."""

    runs: ClassVar[str]
    """``"module:function"``: what does the work, ``function(method, data, workdir, resume)`` -> the model."""

    example: ClassVar[str] = "all-MiniLM-L6-v2"
    """A model that it can start from."""

    axes: ClassVar[tuple[str, ...]]
    """The axes in which it nests, as sizes name them; empty for a method that only prepares a model."""

    paper: ClassVar[str]
    """Where it was published: authors, year and number; or why it stands nowhere."""

    learns_from: ClassVar[str]
    """The data that it takes, in words."""

    needs: ClassVar[tuple[str, ...]] = ()
    """What its data must offer, one of these: columns, as in ``"image, question, answer"``, or kinds of items, as in
    ``"text"`` and ``"vector, label"``. Without any, all data will do, also none."""

    extra: ClassVar[str | None] = None
    """The extra of its package, as in ``pip install "anysize[text]"``, that it needs; None for none."""

    reads: ClassVar[str] = "anysize.core.data.read:read"
    """What reads its data, of whatever a user names."""

    marker: ClassVar[str] = MANIFEST
    """The file that tells a folder that it wrote, which a later run may replace."""

    loads: ClassVar[str] = "anysize.core.verbs.load:load"
    """What reads back what it made and saved."""

    positive: ClassVar[tuple[str, ...]] = ("epochs", "steps", "batch_size", "learning_rate", "max_length")
    """Options that are None or above zero; names that a method has not are passed over."""

    shown: ClassVar[bool] = False
    """Whether the model can be shown on the way: then what it `runs` also takes ``judge``, as `fit` does."""

    def __post_init__(self) -> None:
        for name in self.positive:
            value = getattr(self, name, None)
            if value is not None and not value > 0:
                raise AnysizeError(f"{name.replace('_', '-')} must be above zero; got {value}")

    def base_model(self) -> str:
        """The model to start from. Raises `AnysizeError` if the option of that name is not given."""
        model: str | None = getattr(self, "model", None)
        if model is None:
            raise AnysizeError(
                f"name the model to start from with --model, a folder or a hub name, for example {self.example}"
            )
        return model

    def fit(self, data: Data, *, workdir: Path | None = None, resume: bool = False, judge: Judge | None = None) -> Any:
        """
        Learn from `data`; `workdir` keeps what is done, from which `resume` continues.

        A `judge` is shown the model now and then; the weights that it finds best are kept. Raises `DataError` if the
        data cannot be learnt from, `SizeError` if the sizes do not fit the model.
        """
        if workdir is None:
            with temporary_folder() as scratch:
                return self.fit(data, workdir=scratch, resume=resume, judge=judge)
        if judge is not None and not self.shown:
            raise AnysizeError(f"{self.name} cannot show its model on the way; let watch be a share of the rows")
        from anysize.core.data.needs import check_needs  # loads numpy, which showing options does not need

        check_needs(self.name, self.needs, data)
        made = self._worker(data)(self, data, workdir, resume, **({} if judge is None else {"judge": judge}))
        made.about = {**made.about, **stamp(self, data)}
        return made

    def _worker(self, data: Data) -> Any:
        """What does the work: of items of a kind that another family sees to, what it registered for them."""
        own = "" if data.corpus is None else f"{self.name}:{data.corpus.of}"
        return find("learners", own) if own in names("learners") else named(self.runs)

    def told(self, made: Any, out: str) -> str:
        """What a reader is told of `made`, which stands at `out`: from what it learnt, and the next command."""
        what, rows = made.about.get("learnt_from"), made.about.get("rows")
        learnt = "" if what is None else f", learnt from {what if rows is None else f'{rows} {what}'}"
        return f"{out}: {made.nesting!r}{learnt}\nnext: anysize measure {out} DATA"


@dataclass(frozen=True, kw_only=True)
class Trained(Method):
    """A method that trains step by step, and can be watched meanwhile."""

    watch: float | None = None
    """Leave out this share of the rows, look at their loss ten times on the way, and keep the best weights."""
    patience: int | None = None
    """With --watch: stop after so many looks in a row without a new best. Default: train to the end."""
    report_to: tuple[str, ...] = ("none",)
    """Where to send losses as well: tensorboard, wandb, or another that transformers knows by name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.watch is not None and not 0 < self.watch < 1:
            raise AnysizeError(f"watch is a share of the rows, above 0 and below 1; got {self.watch}")
        if self.patience is not None and self.patience < 1:
            raise AnysizeError(f"patience is a number of looks, at least 1; got {self.patience}")
        check_reporters(self.report_to)


def stamp(method: Method, data: Data) -> dict[str, Any]:
    """What every model says of how it was made; the method adds what it learnt."""
    return {
        "method": method.name,
        "options": options_of(method),
        "data": {"name": data.name, "fingerprint": data.fingerprint},
    }


def options_of(method: Any) -> dict[str, Any]:
    """A method's options as JSON gives them back, where tuples are lists: what a model says of how it was made."""
    options: dict[str, Any] = json.loads(json.dumps(asdict(method)))
    return options
