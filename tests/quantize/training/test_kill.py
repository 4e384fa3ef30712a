import json

import pytest
import torch

import anysize as az
from anysize.core.errors import CheckpointError
from anysize.quantize.training import omniquant
from tests.conftest import flips, sentences
from tests.processes import die, killed


def test_omniquant_that_is_killed_resumes_at_the_layer_it_reached(encoder_path, tmp_path, anysize, monkeypatch):
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": one}) for one in sentences(40)))
    words = ["fit", tmp_path / "texts.jsonl", "--method", "matquant", "--base", "omniquant", "--model", encoder_path,
             "--bits", "8,4,2", "--epochs", "2", "--batch-size", "8", "--learning-rate", "0.01"]  # fmt: skip
    assert anysize(*words, "--out", tmp_path / "whole").status == 0
    words += ["--out", tmp_path / "cut"]
    fit_block = omniquant._fit_block

    def work():
        # At the second block.
        omniquant._fit_block = lambda *given: die() if given[-1] == 1 else fit_block(*given)
        anysize(*words)

    killed(work)
    kept = tmp_path / "cut.partial" / "blocks" / "0.safetensors"
    assert kept.exists()
    anysize(*words).refused("an unfinished run stands", "--resume")
    for _ in flips(kept, 4):
        anysize(*words, "--resume").refused("0.safetensors cannot be read", "delete it to learn that block again")
    fitted = []

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
