"""Real things, small and made once, that the places of the tests hand the animals of the zoo to."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import anysize as az
from anysize.classify import Classifier
from anysize.quantize import CausalLM
from anysize.quantize.making import finished, prepared
from anysize.text import Embedder, Encoder, NestedEncoder
from tests.conftest import WIDTH, sentences, spread_vectors
from tests.sparse.making import inputs, random_sae


@dataclass
class Shop:
    """What is there to be misused."""

    root: Path
    encoder: Encoder
    embedder: Embedder
    texts: Embedder
    layered: NestedEncoder
    classifier: Classifier
    sae: Any
    quantized: Any
    lm: Any
    index: az.Index
    words: az.Index
    frontier: az.Frontier
    rows: np.ndarray = field(default_factory=lambda: spread_vectors(40))
    sae_rows: np.ndarray = field(default_factory=inputs)
    _names: Any = field(default_factory=itertools.count)

    def new(self) -> Path:
        """A path at which nothing stands yet."""
        return self.root / f"new-{next(self._names)}"


def open_shop(root: Path, encoder_path: Path, lm_path: Path) -> Shop:
    """Make everything."""
    nesting = az.Nesting(dims=(8, WIDTH))
    encoder = Encoder(str(encoder_path))
    layered = NestedEncoder.from_pretrained(encoder_path, layers=(1, 2), dims=(8, WIDTH))
    texts = Embedder(nesting, WIDTH, encoder=encoder)
    rows = spread_vectors(40)
    embedder = Embedder(nesting, WIDTH)
    records = tuple(
        az.Record(size, arm, {"ndcg@10": 0.1 + size.dims / 100}, 4 * size.dims, 0.1)
        for size in nesting
        for arm in ("nested", "truncate")
    )
    return Shop(
        root=root,
        encoder=encoder,
        embedder=embedder,
        texts=texts,
        layered=layered,
        classifier=Classifier(nesting, WIDTH, ["cat", "dog"]),
        sae=random_sae(),
        quantized=finished(
            prepared(NestedEncoder.from_pretrained(encoder_path, dims=(WIDTH,)), az.Nesting(bits=(2, 8)))
        ),
        lm=CausalLM.from_pretrained(lm_path),
        index=az.Index.build(root / "index", None, rows, nesting=nesting),
        words=az.Index.build(root / "words", texts, sentences(20)),
        frontier=az.Frontier(records, metric="ndcg@10"),
    )
