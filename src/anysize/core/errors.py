"""The errors a user meets. Each message is one sentence or two: what was given, what was expected, what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


class AnysizeError(ValueError):
    """Bad input or a bad file. The command line prints the message alone and exits with status 2."""


class SizeError(AnysizeError):
    """A size that a model was not trained for, or a list of sizes that is not a nesting."""


class DataError(AnysizeError):
    """Data that cannot be read, or that lacks what the task needs."""


class UnreadableError(DataError):
    """Some of the files among the items cannot be read; the others can."""

    def __init__(self, errors: Mapping[int, DataError], rows: Sequence[Any] = ()) -> None:
        few = "; ".join(str(one) for one in list(errors.values())[:3])
        super().__init__(few + (f"; and {len(errors) - 3} more" if len(errors) > 3 else ""))
        self.errors = dict(errors)
        """What is wrong with each, by its place among the items that were given."""
        self.rows = list(rows)
        """Those files, in the order of `errors`, where they are known."""


class CheckpointError(AnysizeError):
    """A saved model, index or frontier that is missing, damaged, or made by something else."""


class DivergedError(AnysizeError):
    """Training whose loss or gradient is no longer a finite number. Nothing of the bad step was kept."""

    def __init__(self, message: str, checkpoint: Path | None = None) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint
        """The last whole checkpoint of the run, all of whose weights are good; None if there is none yet."""


@contextlib.contextmanager
def refused_as_damaged(what: str) -> Iterator[None]:
    """
    Whatever a library raises over the content of a file becomes a `CheckpointError` that begins with `what`.

    Libraries have no common error for a bad file: KeyError, RuntimeError, AttributeError and bare Exception all occur.
    Our own sentences, a lack of memory and a package that is not installed pass as they are.
    """
    try:
        yield
    except (AnysizeError, MemoryError, ImportError):
        raise
    except Exception as error:
        raise CheckpointError(f"{what} ({reason_of(error)}); it may be damaged") from error


def reason_of(error: BaseException) -> str:
    """The first line of what a library says, or the kind of its error; short enough to stand in a sentence."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 300 else f"{line[:297]}..."


def lacks_memory(error: BaseException) -> bool:
    """Whether Python, or torch in its own words, could not have the memory that was asked for."""
    said = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or "can't allocate memory" in said or "out of memory" in said


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is unknown: "did you mean latents?", or all there are."""
    import difflib

    listed = list(known)
    close = difflib.get_close_matches(name, listed, n=1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(listed)}"
