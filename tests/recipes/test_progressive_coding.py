"""The recipe of progressive coding, with a small language model and an autoencoder in the layout of SAELens."""

from __future__ import annotations

import pytest
import torch

import anysize as az
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.sparse import SparseAutoencoder
from anysize.sparse.formats import saelens
from recipes import progressive_coding
from tests.conftest import sentences
from tests.sparse.pruning.test_recapture import gpt  # noqa: F401


def test_from_somebodys_autoencoder_to_smaller_ones(gpt, tmp_path, capsys):  # noqa: F811
    both = torch.cat([torch.eye(16), -torch.eye(16)])  # every direction and its opposite: nothing is lost
    sae = SparseAutoencoder(Nesting(latents=(32,)), 16, activation="relu")
    with torch.no_grad():
        sae.W_dec.copy_(both)
        sae.W_enc.copy_(both.T)
    saelens.write(sae, tmp_path / "sae")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(sentences(40)))
    given = ["--model", str(gpt), "--site", "h.0", "--texts", str(texts), "--out", str(tmp_path / "out")]
    progressive_coding.main(["--sae", str(tmp_path / "sae"), "--latents", "8,16", *given])
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines() if line[:7].strip().isdigit()]
    assert [(line[0], line[1]) for line in lines] == [
        *((size, reading) for reading in ("mask", "reselect") for size in ("8", "16", "32")),
        ("8", "pruned"),
        ("16", "pruned"),
    ]
    errors = {(line[0], line[1]): float(line[3]) for line in lines}
    assert errors["32", "mask"] == 0 < errors["16", "mask"] < errors["8", "mask"]
    assert errors["16", "pruned"] < errors["16", "mask"]  # with the bias refitted
    shares = {(line[0], line[1]): float(line[5]) for line in lines}
    assert shares["32", "mask"] == pytest.approx(1, abs=1e-3)
    assert az.load(tmp_path / "out" / "latents-16").latents == 16
    texts.write_text("one")
    with pytest.raises(DataError, match="at least ten"):
        progressive_coding.main(["--sae", str(tmp_path / "sae"), "--latents", "16", *given])
    with pytest.raises(AnysizeError, match="not an anysize model"):
        progressive_coding.main(["--sae", str(gpt), "--latents", "16", *given])
