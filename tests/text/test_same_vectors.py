"""Whatever is made of a base gives the vectors that sentence-transformers gives for it: each base by each way."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import anysize as az
from anysize.backbones.sentence import Encoder
from anysize.core.sizes.nesting import Nesting
from anysize.quantize.model.making import finished, prepared
from anysize.text.depth.model import NestedEncoder
from anysize.text.embedder.model import Embedder
from tests.text.bases import DEPTH, KINDS, TEXTS, Kind, by_side, make, unit

DIMS = 8
ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""How far two ways may be apart: with weights of 16 bits, two steps of their rounding (of numbers below 1)."""
EIGHT_BITS = 0.02
"""How far from the base codes of 8 bits may be: random weights without training are a hard case."""


@dataclass(frozen=True)
class Base:
    """A base on disk, what plain sentence-transformers gives for it, and how near all else must come."""

    kind: Kind
    path: Path
    plain: SentenceTransformer
    raw: dict[str, np.ndarray]
    """"", query or document -> its vectors as they are."""

    @property
    def width(self) -> int:
        return self.raw[""].shape[1]

    @property
    def nesting(self) -> Nesting:
        return Nesting(dims=(DIMS, self.width))

    @property
    def near(self) -> float:
        return ROUNDING[self.kind.dtype]

    def head(self) -> torch.Tensor:
        return torch.randn(self.width, self.width, generator=torch.Generator().manual_seed(1))

    def check(self, model: Any, dims: int, head: torch.Tensor | None = None, near: float | None = None) -> None:
        """`model`, asked in each way, gives the first `dims` of the base's vectors (through a head), at unit length."""
        for side, found in by_side(model, TEXTS).items():
            expected = self.raw[side] if head is None else self.raw[side] @ head.numpy().astype(np.float64).T
            np.testing.assert_allclose(found, unit(expected[:, :dims]), atol=near or self.near, err_msg=side)


@pytest.fixture(scope="module", params=KINDS)
def base(request, tmp_path_factory) -> Base:
    kind = KINDS[request.param]
    path = make(kind, tmp_path_factory.mktemp(request.param))
    plain = SentenceTransformer(str(path), device="cpu")
    raw = {side: np.asarray(rows, np.float64) for side, rows in by_side(plain, TEXTS).items()}
    return Base(kind, path, plain, raw)


def written(model: Any, folder: Path) -> SentenceTransformer:
    """What is extracted, as plain sentence-transformers loads it."""
    model.save(str(folder), create_model_card=False)
    return SentenceTransformer(str(folder), device="cpu")


def test_the_bases_differ_where_their_settings_say(base):
    """Else the matrix would prove nothing: a prompt that is lost must show."""
    prompts = base.kind.settings.get("prompts", {})
    apart = {side: np.abs(unit(base.raw[side]) - unit(base.raw[""])).max() for side in ("query", "document")}
    if "query" in prompts and base.kind.settings.get("default_prompt_name") != "query":
        assert apart["query"] > 10 * base.near
    if "document" in prompts:
        assert apart["document"] > 10 * base.near


@pytest.mark.parametrize("headed", [False, True], ids=["no-head", "head"])
def test_views_extracts_and_loads_at_a_size(base, headed, tmp_path):
    head = base.head() if headed else None
    model = Embedder(base.nesting, base.width, encoder=Encoder(str(base.path)), weight=head)
    for dims in (DIMS, base.width):
        base.check(model.at(dims=dims), dims, head)
        base.check(written(model.at(dims=dims).convert(), tmp_path / f"cut{dims}"), dims, head)
    model.save(tmp_path / "saved")
    base.check(az.load(tmp_path / "saved", dims=DIMS), DIMS, head)
    base.check(az.load(tmp_path / "saved"), base.width, head)
    assert az.load(tmp_path / "saved").encoder.fingerprint() == model.encoder.fingerprint()


def test_layers_at_full_depth(base, tmp_path):
    model = NestedEncoder.from_pretrained(str(base.path), layers=(1, DEPTH), dims=(DIMS, base.width))
    for dims in (DIMS, base.width):
        base.check(model.at(layers=DEPTH, dims=dims), dims)
        base.check(written(model.at(layers=DEPTH, dims=dims).convert(), tmp_path / f"cut{dims}"), dims)
    model.save(tmp_path / "saved")
    base.check(az.load(tmp_path / "saved", layers=DEPTH, dims=DIMS), DIMS)
    base.check(az.load(tmp_path / "saved"), base.width)


def test_a_cut_in_layers_is_its_own_view(base, tmp_path):
    model = NestedEncoder.from_pretrained(str(base.path), layers=(1, DEPTH), dims=(DIMS, base.width))
    cut, view = written(model.at(layers=1, dims=DIMS).convert(), tmp_path / "cut"), model.at(layers=1, dims=DIMS)
    for side, found in by_side(cut, TEXTS).items():
        np.testing.assert_allclose(found, by_side(view, TEXTS)[side], atol=base.near, err_msg=side)


def test_codes_of_eight_bits(base, tmp_path):
    inner = NestedEncoder.from_pretrained(str(base.path), layers=(DEPTH,), dims=(DIMS, base.width))
    whole = copy.deepcopy(inner.nesting.full)
    model = finished(prepared(inner, Nesting(layers=(whole.layers,), dims=(DIMS, whole.dims), bits=(4, 8))))
    near = EIGHT_BITS + base.near
    base.check(model.at(layers=DEPTH, dims=base.width, bits=8), base.width, near=near)
    model.save(tmp_path / "saved")
    loaded = az.load(tmp_path / "saved", layers=DEPTH, dims=base.width, bits=8)
    base.check(loaded, base.width, near=near)
    cut = written(loaded.convert(), tmp_path / "cut")
    for side, found in by_side(cut, TEXTS).items():
        np.testing.assert_allclose(found, by_side(loaded, TEXTS)[side], atol=max(base.near, 1e-5), err_msg=side)


@pytest.mark.parametrize("layered", [False, True], ids=["embedder", "layered"])
def test_an_index_holds_documents_and_is_asked_with_queries(base, layered, tmp_path):
    if layered:
        model: Any = NestedEncoder.from_pretrained(str(base.path), layers=(DEPTH,), dims=(DIMS, base.width))
    else:
        model = Embedder(base.nesting, base.width, encoder=Encoder(str(base.path)))
    index = az.Index.build(tmp_path / "index", model, TEXTS)
    cosines = unit(base.raw["query"]) @ unit(base.raw["document"]).T
    for row in (0, 3):
        scores = {int(hit.id): hit.score for hit in index.search(TEXTS[row], k=len(TEXTS)).hits}
        np.testing.assert_allclose([scores[place] for place in range(len(TEXTS))], cosines[row], atol=2 * base.near)


def test_what_is_cut_says_of_itself_what_the_base_says(base, tmp_path):
    ours = Embedder(base.nesting, base.width, encoder=Encoder(str(base.path)))
    layered = NestedEncoder.from_pretrained(str(base.path), layers=(1, DEPTH), dims=(DIMS, base.width))
    said = {name: json.loads((base.path / name).read_text()) for name in FILES}
    for name, model in (("width", ours.at(dims=base.width).convert()), ("depth", layered.convert())):
        written(model, tmp_path / name)
        cut = {file: json.loads((tmp_path / name / file).read_text()) for file in FILES}
        said["config_sentence_transformers.json"].pop("truncate_dim", None)  # by now a part of the modules
        assert cut["config_sentence_transformers.json"] == said["config_sentence_transformers.json"]
        assert cut["sentence_bert_config.json"] == said["sentence_bert_config.json"]
        known = len(said["modules.json"]) - (not base.kind.normalize) + 1 - 1
        assert cut["modules.json"][: known - 1] == said["modules.json"][: known - 1]
        for key in ("model_max_length", "padding_side", "chat_template"):
            assert cut["tokenizer_config.json"].get(key) == said["tokenizer_config.json"].get(key), key
        assert cut["config.json"].pop("is_matryoshka") is True
        assert cut["config.json"].pop("matryoshka_dimensions") == [DIMS, base.width]
        cut["config.json"].pop("_name_or_path", None)
        assert cut["config.json"] == said["config.json"]


FILES = ("config_sentence_transformers.json", "sentence_bert_config.json", "modules.json", "tokenizer_config.json",
         "config.json")  # fmt: skip
