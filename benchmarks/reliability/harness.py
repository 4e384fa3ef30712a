"""What all campaigns share: a trial in a process of its own, what came of it, the table and the row of evidence."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anysize.core.errors import AnysizeError
from benchmarks.evidence import write_row

LIMIT = 60.0
"""Seconds that a trial may take; one that takes longer hangs."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (-N if signal N ended it), what it printed, and what it answered."""

    status: int
    out: str
    err: str
    seconds: float
    answer: Any = None
    late: bool = False

    @property
    def refused(self) -> bool:
        """Whether it refused its input in one sentence."""
        return self.status == 2 and one_sentence(self.err)

    @property
    def wrong(self) -> str | None:
        """What no input may cause: a traceback, a crash, a hang or a message that is not one sentence; else None."""
        if self.late:
            return "hang"
        if "Traceback (most recent call last)" in self.err:
            return "traceback"
        if self.status < 0:
            return "crash"
        if self.status not in (0, 1, 2, 130):
            return f"exit {self.status}"
        return "unclear" if self.status and not one_sentence(self.err) else None

    @property
    def last(self) -> str:
        """The last line of standard error."""
        return (self.err.strip().splitlines() or [""])[-1]

    @property
    def cause(self) -> str:
        """Where it went wrong, for grouping: the last of our frames and the exception, or the last line."""
        places = re.findall(r'File "[^"]*/anysize/([^"]+)", line (\d+)', self.err)
        last = self.last or f"status {self.status}"
        kind = re.match(r"[\w.]+", last)
        if places and kind:
            return f"{places[-1][0]}:{places[-1][1]} {kind[0]}"
        return re.sub(r"\S*/\S+|0x\w+|\d+", "_", last)[:140]


def one_sentence(err: str) -> bool:
    """Whether standard error ends in one line of ours, short enough to be read (progress bars may come before)."""
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("anysize: ")]
    return len(ours) == 1 and lines[-1] == ours[0] and len(ours[0]) < 1500


def forked(
    action: Callable[[], Any],
    *,
    meanwhile: Callable[[int], None] | None = None,
    limit: float = LIMIT,
    memory: int | None = None,
) -> Ended:
    """
    Run `action` in a fork of this process, which holds every import already, and wait for its end.

    `action` gives a JSON value, or is a command line's function that exits. `meanwhile(pid)` runs here while it runs.
    `memory` caps its address space, in bytes beyond what this process has.
    """
    out, err, said = (os.memfd_create(name) for name in ("out", "err", "said"))
    sys.stdout.flush(), sys.stderr.flush()
    begin = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        _child(action, out, err, said, memory)
    watch = os.pidfd_open(pid)
    late = False
    try:
        if meanwhile is not None:
            meanwhile(pid)
        if not select.select([watch], [], [], limit)[0]:
            late = True
            os.kill(pid, signal.SIGKILL)
    finally:
        _, raw = os.waitpid(pid, 0)
        os.close(watch)
    seconds = time.perf_counter() - begin
    texts = [_taken(handle) for handle in (out, err, said)]
    answer = json.loads(texts[2]) if texts[2] else None
    return Ended(os.waitstatus_to_exitcode(raw), texts[0], texts[1], seconds, answer, late)


def taught(action: Callable[[], Any], **options: Any) -> Ended:
    """The same, of what nothing disturbs; what it imported is then imported here, so that later forks have it."""

    def telling() -> Any:
        before = set(sys.modules)
        try:
            return action()
        finally:
            os.write(told, "\n".join(sys.modules.keys() - before).encode())

    told = os.memfd_create("told")
    ended = forked(telling, **options)
    preload(_taken(told).split())
    return ended


def _child(action: Callable[[], Any], out: int, err: int, said: int, memory: int | None) -> None:
    status = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1), os.dup2(err, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if memory is not None:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
        try:
            answer = action()
            status = 0
            os.write(said, json.dumps(answer).encode())
        except AnysizeError as error:
            status = 2
            sys.stderr.write(f"anysize: {error}\n")
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
        except BaseException:
            status = 70
            traceback.print_exc()
        sys.stdout.flush(), sys.stderr.flush()
    finally:
        os._exit(status)


def _taken(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    with os.fdopen(handle, "rb") as stream:
        return stream.read().decode("utf-8", "replace")


def command(*words: object) -> Callable[[], None]:
    """An action: one command line, which exits as `anysize` does."""
    from anysize.cli.main import main

    return lambda: main([str(word) for word in words])


@dataclass
class Tally:
    """Outcomes by group, and of the wrong ones an example by cause."""

    wrong: tuple[str, ...]
    """The outcomes of which there must be none."""
    apart: tuple[str, ...] = ()
    """Outcomes of what follows a trial, which are not trials of their own."""
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, group: str, outcome: str, cause: str = "", example: str = "") -> None:
        """Count one trial; a wrong one is kept under its cause."""
        self.counts.setdefault(group, Counter())[outcome] += 1
        if outcome in self.wrong:
            kept = self.findings.setdefault(f"{outcome}: {cause}", {"count": 0, "groups": [], "examples": []})
            kept["count"] += 1
            if group not in kept["groups"]:
                kept["groups"].append(group)
            if len(kept["examples"]) < 3:
                kept["examples"].append(example)
        if outcome not in self.apart and self.trials % 100 == 0:
            print(f"{self.trials} trials, {self.bad} wrong", file=sys.stderr, flush=True)

    @property
    def trials(self) -> int:
        """All trials."""
        return sum(many for count in self.counts.values() for name, many in count.items() if name not in self.apart)

    @property
    def bad(self) -> int:
        """Trials with a wrong outcome."""
        return sum(found["count"] for found in self.findings.values())

    def values(self) -> dict[str, dict[str, int]]:
        """Group -> outcome -> how many, with every outcome in every group, and all together."""
        total = sum(self.counts.values(), Counter())
        names = [*sorted(set(total) - set(self.wrong)), *self.wrong]
        rows = {**dict(sorted(self.counts.items())), "all": total}
        return {group: {name: count[name] for name in names} for group, count in rows.items()}

    def text(self) -> str:
        """The table, then what was wrong, the most frequent first."""
        values = self.values()
        heads = ["", *next(iter(values.values()))]
        rows = [heads, *([group, *map(str, row.values())] for group, row in values.items())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        for cause, found in sorted(self.findings.items(), key=lambda item: -item[1]["count"]):
            lines += [f"{found['count']:>5}  {cause}   [{', '.join(found['groups'][:6])}]"]
            lines += [f"         {' '.join(example.split())[:400]}" for example in found["examples"][:1]]
        return "\n".join(lines)


def row(name: str, claim: str, goal: int, tally: Tally, words: Mapping[str, str], seed: int) -> Path:
    """The row of a campaign: won if at least `goal` trials were made and none was wrong."""
    won = tally.bad == 0 and tally.trials >= goal
    total = tally.values()["all"]
    counted = ", ".join(f"{total[outcome]} {outcome}" for outcome in total)
    return write_row(
        f"reliability-{name}",
        paper="none; a property of the product",
        claim=claim,
        reported="not reported",
        arms=["anysize"],
        metric="trials by outcome",
        values={group: dict(row) for group, row in tally.values().items()},
        outcome="won" if won else "lost",
        note=f"{tally.trials:,} trials: {counted}. {words['note']}",
        command=f"python -m benchmarks.reliability {name} --scratch DIR --seed {seed}",
        data=words["data"],
    )


def listing(folder: Path) -> dict[str, str]:
    """Every name under a folder, links not followed: what it is, and of a file the content's digest."""
    import hashlib

    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "other"
    return found


def preload(names: Sequence[str]) -> None:
    """Import what the trials will need, once, so that their forks have it and share its memory."""
    import gc
    import importlib

    for name in names:
        with contextlib.suppress(ImportError):  # names that a package only puts into sys.modules are no modules
            importlib.import_module(name)
    gc.freeze()
