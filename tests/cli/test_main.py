"""The command line itself: quick to help, one sentence for each trouble, JSON and nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from safetensors import SafetensorError

from anysize import __version__
from anysize.cli import main as module
from anysize.cli.main import VERBS
from anysize.core.errors import DataError

HEAVY = ("torch", "numpy", "transformers", "sentence_transformers", "faiss", "matplotlib", "datasets")


def test_help_is_quick_and_loads_nothing_heavy():
    """Processor seconds, the best of three: other work on the machine must not fail it."""
    program = "from anysize.cli.main import main; main(['--help'])"
    spent = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True, check=True
        )
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(spent) < 0.5
    assert all(f"  {verb} " in done.stdout for verb in VERBS)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "anysize" in imported
    assert not imported & set(HEAVY)


def test_help_and_version(anysize):
    assert anysize().out == anysize("--help").out == anysize("-h").out
    assert anysize("--version").out == f"anysize {__version__}\n"


def test_an_unknown_verb_is_one_sentence(anysize):
    anysize("fitt", "x").refused("there is no verb 'fitt'; did you mean fit?")
    anysize("xyz").refused("there is no verb 'xyz'; there are: demo, fit, measure")


@pytest.mark.parametrize(
    "words",
    [["fit", "data.npy"], ["fit", "data.npy", "--out", "m", "--nope"], ["measure", "m"], ["cut", "m", "--out", "x"]],
)
def test_words_that_are_missing_or_unknown_leave_standard_output_empty(anysize, words):
    said = anysize(*words)
    assert said.status == 2
    assert said.out == ""
    assert "Traceback" not in said.err


def test_numbers_that_are_none_name_the_option(anysize):
    said = anysize("fit", "data.npy", "--out", "m", "--dims", "8,big")
    assert said.status == 2
    assert "8,big" in said.err


class Verb:
    """A verb that ends as the test says."""

    def __init__(self, end):
        self.end = end

    def run(self):
        if isinstance(self.end, BaseException):
            raise self.end
        return self

    def text(self):
        return "für Menschen"

    def to_json(self):
        return {"for": "prögrams"}


@pytest.fixture
def ends(anysize, monkeypatch):
    def run(end, *words):
        monkeypatch.setattr(module, "_parse", lambda command, verb, rest: (Verb(end), "--json" in rest))
        return anysize("info", *words)

    return run


def test_a_result_is_printed_for_people_or_for_programs(ends):
    assert ends(None).out == "für Menschen\n"
    assert ends(None, "--json", "x").json == {"for": "prögrams"}
    assert ends(None, "x", "--json").json == {"for": "prögrams"}


def test_bad_input_is_one_sentence(ends):
    ends(DataError("no such thing; name another")).refused("no such thing; name another")


FULL = {
    "disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere"),
    "quota": OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
}


@pytest.mark.parametrize("case", FULL)
def test_a_full_disk_is_one_sentence(ends, case):
    said = ends(FULL[case])
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("anysize: the disk is full; nothing that was there before is changed")
    assert said.err.count("\n") == 1


def test_the_machine_s_other_troubles_are_one_sentence(ends):
    torch_says = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
    )
    for error in (MemoryError(), torch_says):
        assert ends(error).status == 2
        assert ends(error).err.startswith("anysize: there is not enough memory for what was asked")
    said = ends(OSError(errno.ENAMETOOLONG, "File name too long", "m" * 300))
    assert (said.status, said.err.count("\n")) == (2, 1)
    said = ends(PermissionError(errno.EACCES, "Permission denied", "/root/m"))
    assert (said.status, said.err) == (1, "anysize: /root/m: Permission denied\n")


def test_an_interrupt_is_one_sentence(ends):
    said = ends(KeyboardInterrupt())
    assert said.status == 130
    assert said.err == "anysize: interrupted; what was there before is unchanged\n"


def test_a_mistake_of_ours_is_not_hidden(ends):
    with pytest.raises(ValueError, match="ours"):
        ends(ValueError("ours"))
    with pytest.raises(ZeroDivisionError):
        ends(ZeroDivisionError())


def test_a_reader_that_leaves_early_is_no_trouble():
    program = "from anysize.cli.main import main; main(['--help'])"
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=reader.stdin, stderr=subprocess.PIPE, text=True, check=False
    )
    reader.stdin.close()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fit"], ["DATA and --out are missing", "`anysize fit --help`"]),
        (["search"], ["INDEX is missing"]),
        (["fit", "x", "--out", "y", "--bogus", "3"], ["--bogus"]),
        (["fit", "x", "--out", "y", "--dims", "a,b"], ["--dims: 'a,b' is not a list of whole numbers"]),
        (["fit", "x", "--out", "y", "--tune", "bad"], ["'bad'", "'head', 'full'"]),
        (["choose", "x", "--max-ms", "abc"], ["--max-ms: 'abc' is not a number"]),
        (["search", "idx", "q", "-k", "x"], ["'x' is not a whole number"]),
        (["cut", "m", "--out"], ["--out"]),
    ],
)
def test_words_that_cannot_be_read_give_one_sentence(anysize, words, told):
    anysize(*words).refused(*told)


def test_a_sentence_about_something_endless_is_short(anysize, tmp_path):
    (tmp_path / "wide.csv").write_text(",".join(f"column {n}" for n in range(10_000)) + "\n" + ",".join("a" * 10_000))
    for words in (["info", tmp_path / "wide.csv"], ["info", "a" * 5000], ["search", tmp_path, "--stages", "x" * 9000]):
        said = anysize(*words)
        assert said.status in (1, 2)
        assert said.err.startswith("anysize: ")
        assert len(said.err) < 1500


def test_a_sentence_is_wrapped_on_a_terminal_alone(anysize, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    whole = anysize("measure", "nowhere-at-all", "data.npy").err
    assert whole.count("\n") == 1
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    lines = anysize("measure", "nowhere-at-all", "data.npy").err.splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 40 for line in lines)
    assert " ".join(" ".join(lines).split()) == whole.strip()
