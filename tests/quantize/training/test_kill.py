import json
import os
import signal
import subprocess
import sys

import pytest
import torch

import anysize as az
from anysize.core.errors import CheckpointError
from anysize.quantize.training import omniquant
from tests.conftest import flips, sentences

KILLED_AT_THE_SECOND_BLOCK = """
import os, signal, sys
from anysize.cli.main import run
from anysize.quantize.training import omniquant
fit_block = omniquant._fit_block
def dying(method, block, parts, states, calls, place):
    if place == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return fit_block(method, block, parts, states, calls, place)
omniquant._fit_block = dying
run(sys.argv[1:])
"""


def test_omniquant_that_is_killed_resumes_at_the_layer_it_reached(encoder_path, tmp_path, anysize, monkeypatch):
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": one}) for one in sentences(40)))
    words = ["fit", tmp_path / "texts.jsonl", "--method", "matquant", "--base", "omniquant", "--model", encoder_path,
             "--bits", "8,4,2", "--epochs", "2", "--batch-size", "8", "--learning-rate", "0.01"]  # fmt: skip
    assert anysize(*words, "--out", tmp_path / "whole").status == 0
    words += ["--out", tmp_path / "cut"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_THE_SECOND_BLOCK, *map(str, words)], capture_output=True, env=dict(os.environ)
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = tmp_path / "cut.partial" / "blocks" / "0.safetensors"
    assert kept.exists()
    anysize(*words).refused("an unfinished run stands", "--resume")
    for _ in flips(kept, 4):
        anysize(*words, "--resume").refused("0.safetensors cannot be read", "delete it to learn that block again")
    fitted, fit_block = [], omniquant._fit_block

    def watched(*args):
        fitted.append(args[-1])
        return fit_block(*args)

    monkeypatch.setattr(omniquant, "_fit_block", watched)
    assert anysize(*words, "--resume").status == 0
    assert fitted == [1]
    whole, resumed = az.load(tmp_path / "whole").state_dict(), az.load(tmp_path / "cut").state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    assert not (tmp_path / "cut.partial").exists()


def test_a_block_that_was_damaged_is_named(tmp_path):
    (tmp_path / "0.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"0\.safetensors cannot be read .*; delete it to learn that block again"):
        omniquant._restore(tmp_path / "0.safetensors", {})
