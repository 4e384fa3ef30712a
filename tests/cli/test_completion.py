"""Completion: what may stand in place of the last word, and that bash asks for it so."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

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


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not here")
def test_zsh_completes_what_is_typed_at_its_prompt(tmp_path):
    """At a terminal, by the Tab key: the program tells which words it was then started with."""
    told = tmp_path / "told"
    (tmp_path / "anysize").write_text(f"""#!/bin/sh
[ "$1" = completion ] && exec "{sys.executable}" -m anysize "$@"
printf '%s ' "$@" > "{told}.new" && mv "{told}.new" "{told}"
""")
    (tmp_path / "anysize").chmod(0o755)
    ours, theirs = pty.openpty()
    said = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "dumb", "ZDOTDIR": str(tmp_path)}
    shell = subprocess.Popen(["zsh", "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, env=said, cwd=tmp_path)
    os.close(theirs)
    try:
        os.write(ours, b'autoload -Uz compinit && compinit -u -D; eval "$(anysize completion zsh)"; echo rea""dy\n')
        _read_until(ours, b"ready")
        os.write(ours, b"anysize fit --tune=f\t --met\t csr --gam\t 1\n")
        _read_until(ours, told)
        assert told.read_text() == "fit --tune=full --method csr --gamma 1 "
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def _read_until(terminal: int, wanted: bytes | Path) -> None:
    """Read what a terminal shows until it has shown this, or there is this file."""
    shown, end = b"", time.monotonic() + 60
    while not (wanted in shown if isinstance(wanted, bytes) else wanted.exists()):
        assert time.monotonic() < end, shown
        if select.select([terminal], [], [], 0.05)[0]:
            shown += os.read(terminal, 4096)
