"""Completion: what may stand in place of the last word, and that bash asks for it so."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from anysize.cli.completing import SCRIPTS, candidates
from anysize.cli.main import VERBS
from anysize.core.registry import names


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", [*VERBS, "--help", "--version"]),
        ("f", ["fit"]),
        ("--v", ["--version"]),
        ("nothing --", []),
        ("fit --meth", ["--method"]),
        ("fit --method ", names("methods")),
        ("fit --method m", [name for name in names("methods") if name.startswith("m")]),
        ("fit --method=cs", ["--method=csr"]),
        ("fit --method = cs", ["csr"]),
        ("fit --method csr --gam", ["--gamma"]),
        ("fit --method csr data --tun", []),
        ("fit --method nothing --tun", ["--tune"]),
        ("fit --tune ", ["head", "full"]),
        ("fit --tune=f", ["--tune=full"]),
        ("fit --tune = f", ["full"]),
        ("fit --tune full --t", []),
        ("fit --method tasks --task a=b --ta", ["--task"]),
        ("fit --resume --res", []),
        ("fit --out ", []),
        ("fit -- --me", []),
        ("search idx -k 3 --app", ["--approximate"]),
        ("search -k ", []),
        ("measure --by sim", ["similarity"]),
        ("prune --by e", ["energy"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("info --js", ["--json"]),
    ],
)
def test_what_may_stand_in_place_of_the_last_word(line, found):
    assert candidates(line.split(" ")) == found


def test_the_verb_prints_scripts_and_answers_them(anysize):
    for shell, script in SCRIPTS.items():
        assert anysize("completion", shell).out == script.lstrip()
    assert anysize("completion", "bash", "--", "fit", "--tu").out == "--tune\n"
    assert anysize("completion", "bash", "--", "fit", "x", "").out == "\n"
    assert anysize("completion", "fish", "--json", "--", "--v").json == ["--version"]
    anysize("completion", "tcsh").refused("SHELL: 'tcsh' is none of 'bash', 'zsh', 'fish'")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_takes_the_script_and_completes_with_it(tmp_path):
    program = tmp_path / "anysize"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anysize "$@"\n')
    program.chmod(0o755)
    ask = """
        eval "$(anysize completion bash)"
        ask() { COMP_WORDS=(anysize "$@"); COMP_CWORD=$#; COMPREPLY=(); _anysize; echo "${COMPREPLY[*]}"; }
        ask me; ask fit --method csr --gam; ask info ''
        complete -p anysize
    """
    script = f'PATH="{tmp_path}:$PATH"\n{ask}'
    subprocess.run(["bash", "-n"], input=SCRIPTS["bash"], text=True, check=True)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (
        "measure methods\n--gamma\n\ncomplete -o bashdefault -o default -F _anysize anysize\n",
        "",
    )


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not here")
def test_fish_asks_for_it_so(tmp_path):
    (tmp_path / "anysize").write_text(f'#!/bin/sh\nexec {sys.executable} -m anysize "$@"\n')
    (tmp_path / "anysize").chmod(0o755)
    (tmp_path / "anysize.fish").write_text(SCRIPTS["fish"])
    asked = f'set -x PATH {tmp_path} $PATH; source {tmp_path}/anysize.fish; complete -C "anysize measure --id"'
    done = subprocess.run(["fish", "--no-config", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "--identical\n"
