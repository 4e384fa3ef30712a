"""Help: soon there, without torch, in lines that the terminal can show."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from anysize.cli.main import VERBS, usage
from anysize.core.registry import names

HEAVY = (
    "torch", "numpy", "scipy", "transformers", "sentence_transformers", "faiss", "matplotlib", "datasets", "sklearn",
)  # fmt: skip
PAGES = [[verb] for verb in VERBS] + [["fit", "--method", method] for method in names("methods")]


def test_no_page_takes_half_a_second_or_loads_anything_heavy():
    """Each in a process of its own, forked from one that has loaded nothing; processor seconds of each."""
    program = """
import json, os, sys, time
pages, heavy = json.loads(sys.argv[1])
for words in pages:
    if os.fork() == 0:
        from anysize.cli.main import run
        status = run([*words, "--help"])
        sys.stdout.flush()
        loaded = sorted(set(heavy) & set(sys.modules))
        print(json.dumps([words, status, loaded, time.process_time()]), file=sys.stderr, flush=True)
        os._exit(0)
    os.wait()
"""
    pages = [*PAGES, ["methods"]]
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps([pages, HEAVY])], capture_output=True, text=True, check=True
    )
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert [words for words, *_ in said] == pages
    for words, status, loaded, seconds in said:
        assert (status, loaded) == (0, []), words
        assert seconds < 0.5, words
    for option in ("--dims", "--tune", "--resume", "--within", "--size", "--stages"):
        assert option in done.stdout


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_every_page_fits_the_terminal(anysize, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in PAGES:
        for line in anysize(*words, "--help").out.splitlines():
            command = line.startswith("  ") and "anysize completion" in line  # which is typed as it stands
            assert len(line) <= min(columns, 100) or " " not in line.strip() or command, (words, line)
    assert max(map(len, usage().splitlines())) <= columns


def test_without_a_terminal_lines_have_eighty_columns():
    bare = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    program = "from anysize.cli.main import main; main(['fit', '--help'])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=bare, stdin=subprocess.DEVNULL
    )
    assert 70 < max(map(len, done.stdout.splitlines())) <= 80


def test_fit_lists_the_methods_by_family(anysize):
    said = anysize("fit", "--help").out
    blocks = said.partition("methods, of which")[2].split("\n\n")
    text = next(block for block in blocks if block.startswith("  text\n"))
    assert [line.split()[0] for line in text.splitlines() if line.startswith("    ") and line[4] != " "] == [
        "2dmse", "mlm", "mrl", "smae", "starbucks", "tasks",
    ]  # fmt: skip
    assert "Kusupati et al. 2022" in said
    assert "methods, of which" not in anysize("fit", "--method", "csr", "--help").out


def test_an_option_is_described_as_its_name_reads(anysize):
    said = " ".join(anysize("fit", "--method", "matquant", "--help").out.split())
    assert "--no-symmetric Turns off what is on by default: fix the zero-point" in said
    assert "Default: 0.5" not in said
    assert "--scale X Inverse temperature of softmax and CoSENT over cosine similarities. Default: 20.0." in said
    assert "None" not in said


def test_help_is_an_option_and_no_word_after_two_hyphens(anysize):
    anysize("info", "--", "--help").refused("does not exist")


def test_a_page_without_options_names_json_alone(anysize):
    said = anysize("methods", "--help").out.splitlines()
    assert said[0] == "usage: anysize methods [--json]"
    assert not [line for line in said if line.startswith("options")]
