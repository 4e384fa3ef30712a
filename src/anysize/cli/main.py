"""The command line: finds the verb, reads its options from a dataclass, prints its result or one clear sentence."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing, and what else is not needed yet, would be time in which Ctrl-C has no handler
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from anysize.cli.several import Several
    from anysize.cli.signals import Signals

    class Result(Protocol):
        """What a verb returns: printable for people and for programs."""

        def text(self) -> str:
            """For a person."""

        def to_json(self) -> Any:
            """For a program: plain JSON values."""

    class Verb(Protocol):
        """A dataclass of options, filled from the command line."""

        def run(self) -> Result | Several:
            """Do it."""


VERBS = {
    "demo": ("anysize.cli.verbs.demo:Demo", "the whole job on real text, offline, in a few minutes"),
    "fit": ("anysize.cli.verbs.fit:command", "texts, pairs or vectors in, a nested model out"),
    "measure": ("anysize.cli.verbs.measure:command", "quality and cost at every size, beside its rivals"),
    "choose": ("anysize.cli.verbs.choose:Choose", "a budget or a tolerated loss in, the cheapest size out"),
    "cut": ("anysize.cli.verbs.cut:command", "a standalone smaller model in the ecosystem's own format"),
    "run": ("anysize.cli.verbs.run:Run", "what a model gives: vectors, codes, labels, or text that goes on"),
    "prune": ("anysize.cli.verbs.prune:Prune", "the most important latents of a sparse autoencoder, without training"),
    "concepts": ("anysize.cli.verbs.concepts:Concepts", "names for the latents of a sparse autoencoder"),
    "look": ("anysize.cli.verbs.look:Look", "a page to look at a sparse autoencoder with"),
    "index": ("anysize.cli.verbs.index:Index", "a corpus in, a searchable store out"),
    "search": ("anysize.cli.verbs.search:Search", "ask an index"),
    "serve": ("anysize.cli.verbs.serve:Serve", "one process that serves every size, with the API people already use"),
    "methods": ("anysize.cli.verbs.methods:Methods", "what fit can do: papers, data, and what must be installed"),
    "completion": ("anysize.cli.verbs.completion:Completion", "words for the Tab key of bash, zsh and fish"),
    "info": ("anysize.cli.verbs.info:Info", "what a path holds, its sizes and bytes"),
}


_LONGEST = 1200
"""Characters of a sentence on standard error, beyond which its middle is left out."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 the machine failed, 2 bad input, 130 interrupted, 143 terminated."""
    from anysize.cli.signals import Signals

    signals = Signals()
    signals.listen()
    # Read when torch is loaded: threads that wait for one another asleep, not in a loop. On a busy machine that loop
    # took twenty times the processor time of the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(list(sys.argv[1:] if argv is None else argv), signals))


def run(argv: list[str], signals: Signals | None = None) -> int:
    """Run one command; returns its exit status."""
    try:
        try:
            return _run(argv, signals)
        finally:
            if signals is not None:
                signals.verb_ended()
    except KeyboardInterrupt:
        return _stopped(signals)
    except BrokenPipeError:
        # The reader (head, say) left. Nothing more can be said, also not by Python's own flush at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if signals is not None and signals.number:
            return _stopped(signals)  # a library on the way made another error of it
        from errno import ENAMETOOLONG

        from anysize.core.errors import lacks_memory

        if lacks_memory(error):
            return _complain("there is not enough memory for what was asked; ask for less or give less data", 2)
        trouble = _machine_trouble(error)
        if trouble is not None:
            named_too_long = isinstance(error, OSError) and error.errno == ENAMETOOLONG
            return _complain(trouble, 2 if named_too_long else 1)
        if not isinstance(error, ValueError):
            raise
        from anysize.core.errors import AnysizeError

        if not isinstance(error, AnysizeError):
            raise
        return _complain(str(error), 2)


def _run(argv: list[str], signals: Signals | None) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        _say(usage())
        return 0
    if argv[0] in ("-V", "--version"):
        from anysize.core.version import __version__

        _say(f"anysize {__version__}")
        return 0
    verb, rest = argv[0], argv[1:]
    if verb not in VERBS:
        from anysize.core.errors import nearest

        return _complain(f"there is no verb {verb!r}; {nearest(verb, VERBS)}", 2)
    from anysize.cli.parsing import asks_help

    command = command_of(verb, rest)
    if asks_help(rest):
        from anysize.cli.help import page

        _say(page(command, f"anysize {verb}"))
        return 0
    filled, as_json = _parse(command, verb, rest)
    if signals is not None:
        signals.verb_runs()
    result = filled.run()
    if os.environ.get("RANK", "0") != "0":
        return 0  # one of several processes that torchrun started: the first speaks for all
    from anysize.cli.several import Several
    from anysize.core.printable import printable_page

    for one in result if isinstance(result, Several) else (result,):
        _say(_as_json(one, 1 if one is result else None) if as_json else printable_page(one.text()))
    return 0


def usage() -> str:
    """The page that ``anysize --help`` prints."""
    from anysize.cli.wrapping import wrapped

    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(wrapped(what, first=f"  {verb:<{width}}") for verb, (_, what) in VERBS.items())
    end = "`anysize VERB --help` lists a verb's options; --json prints JSON and nothing else."
    return "\n\n".join(
        [wrapped("anysize: train once, run at any size."), "usage: anysize VERB ... [--json]", verbs, wrapped(end)]
    )


def _as_json(result: Result, indent: int | None) -> str:
    import json

    from anysize.core.printable import printable_json

    return printable_json(json.dumps(result.to_json(), ensure_ascii=False, indent=indent))


def command_of(verb: str, words: list[str]) -> Any:
    """The verb's dataclass; `fit` and `measure` make it of the words, which name whose options it takes too."""
    from anysize.core.registry import named

    found = named(VERBS[verb][0])
    return found if isinstance(found, type) else found(words)


def _parse(command: Any, verb: str, words: list[str]) -> tuple[Verb, bool]:
    from anysize.cli.parsing import parse

    filled: tuple[Verb, bool] = parse(command, words, prog=f"anysize {verb}")
    return filled


def _machine_trouble(error: Exception) -> str | None:
    """One sentence if the machine failed, None if the input or the program did."""
    from anysize.core.files import disk_is_full

    if disk_is_full(error):
        how = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        return f"the disk is full; nothing that was there before is changed. Free some space and run it again{how}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) if isinstance(error, OSError) else None


def _stopped(signals: Signals | None) -> int:
    from signal import SIGINT

    from anysize.cli.signals import said, status

    number = (signals.number if signals is not None else 0) or SIGINT
    return _complain(said(number), status(number))


def _complain(message: str, status: int) -> int:
    from anysize.core.printable import printable

    said = printable(message)
    if len(said) > _LONGEST:  # a name or a value in it is of any length
        said = f"{said[: _LONGEST - 300]} … {said[-300:]}"
    from anysize.cli.wrapping import for_a_terminal

    sys.stderr.write(for_a_terminal(f"anysize: {said}", sys.stderr) + "\n")
    return status


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
