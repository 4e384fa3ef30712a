"""Queries are encoded as queries and documents as documents on every path; pairs without sides alike."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

import anysize as az
from anysize.backbones.texts.prompts import prompt_of
from anysize.core.data.columns import training_columns
from anysize.core.data.data import Data
from anysize.core.data.records import Items, Table
from anysize.core.errors import AnysizeError
from anysize.core.sides import SidedTexts
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.rivals import rival
from anysize.evaluation.ranking import evaluate
from anysize.evaluation.retrieval import NeighbourEvaluator, RetrievalEvaluator
from anysize.evaluation.similarity import SimilarityEvaluator, similarity_metrics
from anysize.quantize import MatQuant
from anysize.quantize.model.making import finished, prepared
from anysize.quantize.training.columns import columns as quantized_columns
from anysize.quantize.training.fit import float_model
from anysize.text import MRL, Embedder, Encoder, NestedEncoder, Starbucks, TaskLoRA, Tasks, late_chunk
from anysize.text.depth.fit import TextTraining
from anysize.text.embedder.fit import training_features
from tests.conftest import sentences
from tests.evaluation.measured import measured
from tests.text.bases import DOCUMENT, KINDS, OTHER, QUERY, SIDED, TEXTS, WIDTH, Kind, by_side, make, unit

PAIRS = Table({"anchor": sentences(12), "positive": sentences(12, seed=1), "negative": sentences(12, seed=2)})
DATA = Data("pairs", "f", table=PAIRS)


@pytest.fixture(scope="module")
def sided(tmp_path_factory) -> Path:
    """A base that puts one prompt before queries and another before documents, and pools without them."""
    return make(KINDS["prompt-not-pooled"], tmp_path_factory.mktemp("sided"))


@pytest.fixture(scope="module")
def plain(sided) -> SentenceTransformer:
    return SentenceTransformer(str(sided), device="cpu")


@pytest.mark.parametrize(
    ("side", "prompts", "default", "expected"),
    [
        (None, {"query": "q", "other": "o"}, "other", "o"),
        (None, {"query": "q"}, None, ""),
        ("query", {"query": "q", "other": "o"}, "other", "q"),
        ("query", {"query": "", "other": "o"}, "other", ""),
        ("document", {"document": "d", "passage": "p"}, None, "d"),
        ("document", {"document": "", "passage": "p"}, None, "p"),
        ("document", {"query": "q", "document": None, "corpus": "c"}, "query", "c"),
        ("document", {"query": "q"}, "query", ""),
    ],
)
def test_which_prompt_a_side_has(side, prompts, default, expected):
    assert prompt_of(prompts, default, side) == expected


def test_a_prompt_of_passages_is_that_of_documents_here_and_in_what_is_cut(tmp_path):
    kind = Kind(settings={"prompts": {"query": QUERY, "passage": DOCUMENT}})
    path = make(kind, tmp_path)
    expected = SentenceTransformer(str(path), device="cpu").encode(TEXTS, prompt_name="passage")
    model = Embedder(Nesting(dims=(8, WIDTH)), WIDTH, encoder=Encoder(str(path)))
    layered = NestedEncoder.from_pretrained(str(path), layers=(2,))
    for one in (model, layered, model.extract(), layered.extract()):
        np.testing.assert_allclose(one.encode_document(TEXTS), expected, atol=1e-5)


def test_a_model_with_two_routes_goes_by_the_side(tmp_path):
    path = make(Kind(normalize=False), tmp_path)
    first, pooling = (SentenceTransformer(str(path), device="cpu")[place] for place in (0, 1))
    torch.manual_seed(0)
    routes = {side: [Dense(WIDTH, WIDTH)] for side in ("query", "document")}
    router = Router(routes, default_route="document")
    SentenceTransformer(modules=[first, pooling, router], device="cpu").save(str(tmp_path / "two"))
    expected = by_side(SentenceTransformer(str(tmp_path / "two"), device="cpu"), TEXTS)
    assert np.abs(unit(expected["query"]) - unit(expected["document"])).max() > 0.1
    model = Embedder(Nesting(dims=(8, WIDTH)), WIDTH, encoder=Encoder(str(tmp_path / "two")))
    model.extract(dims=8).save(str(tmp_path / "cut"), create_model_card=False)
    for one in (model.at(dims=8), SentenceTransformer(str(tmp_path / "cut"), device="cpu")):
        for side, found in by_side(one, TEXTS).items():
            np.testing.assert_allclose(found, unit(expected[side][:, :8]), atol=1e-5, err_msg=side)


def test_a_head_learns_from_each_column_on_its_side(sided, plain):
    data = replace(DATA, corpus=Items(["0", "1"], sentences(2, seed=3)))
    found, pairs = training_features(MRL(model=str(sided)), data), data.training_pairs()
    for name, texts in (
        ("positive", pairs["positive"]),
        ("negative", pairs["negative"]),
        ("corpus", data.corpus.texts),
    ):
        np.testing.assert_allclose(found[name], plain.encode_document(texts), atol=1e-5)
    np.testing.assert_allclose(found["anchor"], plain.encode_query(pairs["anchor"]), atol=1e-5)
    alike = training_features(MRL(model=str(sided), sides="symmetric"), data)
    np.testing.assert_allclose(alike["anchor"], plain.encode(pairs["anchor"]), atol=1e-5)
    np.testing.assert_allclose(alike["corpus"], plain.encode(data.corpus.texts), atol=1e-5)
    texts = Data("texts", "f", corpus=Items(["0", "1"], PAIRS["anchor"][:2]))
    alone = training_features(MRL(model=str(sided)), texts)["vector"]
    np.testing.assert_allclose(alone, plain.encode_document(PAIRS["anchor"][:2]), atol=1e-5)


def asked_of(model: SentenceTransformer, monkeypatch) -> dict[str, set[str | None]]:
    """Text -> the prompts behind which it is tokenised from now on."""
    asked: dict[str, set[str | None]] = {}
    real = model.preprocess

    def spy(texts, prompt=None, **options):
        for text in texts:
            asked.setdefault(text, set()).add(prompt or None)
        return real(texts, prompt=prompt, **options)

    monkeypatch.setattr(model, "preprocess", spy)
    return asked


@pytest.mark.parametrize(("sides", "query", "document"), [("retrieval", QUERY, DOCUMENT), ("symmetric", QUERY, QUERY)])
def test_a_whole_encoder_is_tuned_on_each_column_behind_its_prompt(
    sided, sides, query, document, monkeypatch, tmp_path
):
    """The base's default prompt is that of queries, so alike means behind that one."""
    encoder = Encoder(str(sided))
    asked = asked_of(encoder.model, monkeypatch)
    method = MRL(model=str(sided), tune="full", batch_size=4, epochs=1, dims=(8, WIDTH), sides=sides)
    monkeypatch.setattr("anysize.text.embedder.fit.encoder_of", lambda method: encoder)
    method.fit(DATA, workdir=tmp_path)
    for texts, prompt in ((PAIRS["anchor"], query), (PAIRS["positive"], document), (PAIRS["negative"], document)):
        # The trainer also counts the tokens of some bare texts, for a page that is never written.
        assert {one for text in texts for one in asked.get(text, ())} - {None} == {prompt}


@pytest.mark.parametrize(("sides", "query", "document"), [("retrieval", QUERY, DOCUMENT), ("symmetric", QUERY, QUERY)])
def test_layers_are_tuned_on_each_column_behind_its_prompt(plain, sides, query, document):
    columns = training_columns(DATA, sides)
    training = TextTraining(plain, torch.nn.Module(), columns.sides)
    batch = training.collate([columns[row] for row in (0, 1, 2)])["columns"]
    listed = zip(batch, PAIRS.columns.values(), (query, document, document), strict=True)
    for found, texts, prompt in listed:
        expected = plain.tokenizer([prompt + text for text in texts[:3]], padding=True, return_tensors="pt")
        assert torch.equal(found["input_ids"], expected["input_ids"])
        assert found["prompt_length"] == len(prompt.split()) + 1  # and <s>
    scored = Data(
        "s",
        "f",
        table=Table(
            {"sentence1": PAIRS["anchor"], "sentence2": PAIRS["positive"], "score": [float(row) for row in range(12)]}
        ),
    )
    assert training_columns(scored).sides == (None, None)


def test_what_is_trained_in_layers_pools_without_the_prompt(sided, plain):
    """The loss's own pass at full depth, against the vectors that the model gives."""
    from anysize.text.losses.taps import Tapper

    columns = training_columns(DATA)
    training = TextTraining(plain, torch.nn.Module(), columns.sides)
    column = training.collate([columns[row] for row in range(4)])["columns"][0]
    with torch.no_grad():
        found = Tapper(plain).run(column, [2])[2]
    np.testing.assert_allclose(unit(found.numpy()), plain.encode_query(PAIRS["anchor"][:4]), atol=1e-5)


def test_codes_are_trained_on_each_column_on_its_side(sided, plain):
    assert quantized_columns(DATA, "auto").sides == ("query", "document", "document")
    assert quantized_columns(DATA, "auto", "symmetric").sides == (None, None, None)
    assert quantized_columns(DATA, "embeddings").sides == ("document",)
    model = NestedEncoder.from_pretrained(str(sided), layers=(2,))
    for side, expected in by_side(plain, TEXTS).items():
        found = model(SidedTexts(TEXTS, side or None)).detach().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=side)


def judged() -> Data:
    corpus, queries = sentences(30), [" ".join(text.split()[2:5]) for text in sentences(30)]
    return Data(
        "j", "f", corpus=Items([f"d{row}" for row in range(30)], corpus),
        queries=Items([f"q{row}" for row in range(30)], queries),
        qrels={"test": {f"q{row}": {f"d{row}": 1} for row in range(30)}},
    )  # fmt: skip


@pytest.mark.parametrize("layered", [False, True], ids=["embedder", "layered"])
def test_measuring_encodes_each_side_as_it_will_be_searched(sided, plain, layered):
    if layered:
        model = NestedEncoder.from_pretrained(str(sided), layers=(2,))
    else:
        model = Embedder(Nesting(dims=(WIDTH,)), WIDTH, encoder=Encoder(str(sided)))
    data = judged()
    task = data.judged(held_out=False)
    by_query = {}
    for name, encode in (("sides", plain.encode_query), ("alike", plain.encode_document)):
        scores = unit(encode(task.queries.texts)) @ unit(plain.encode_document(task.corpus.texts)).T
        by_query[name] = evaluate(task, np.argsort(-scores, axis=1), ("ndcg@10",))["ndcg@10"]
    assert abs(by_query["sides"] - by_query["alike"]) > 0.02
    (record,) = measured(RetrievalEvaluator(), {"nested": [model]}, data)
    assert record.metrics["ndcg@10"] == pytest.approx(by_query["sides"], abs=1e-9)


def test_neighbours_are_those_of_documents_and_scored_pairs_are_on_no_side(sided, plain, monkeypatch):
    model = Embedder(Nesting(dims=(WIDTH,)), WIDTH, encoder=Encoder(str(sided)))
    asked = asked_of(model.encoder.model, monkeypatch)
    measured(NeighbourEvaluator(), {"nested": [model]}, judged())
    assert {prompt for prompts in asked.values() for prompt in prompts} == {DOCUMENT}
    scores = [float(row % 7) for row in range(12)]
    data = Data("s", "f", table=Table({"sentence1": PAIRS["anchor"], "sentence2": PAIRS["positive"], "score": scores}))
    (record,) = measured(SimilarityEvaluator(), {"nested": [model]}, data)
    expected = similarity_metrics(plain.encode(PAIRS["anchor"]), plain.encode(PAIRS["positive"]), scores)
    assert record.metrics["pearson_cosine"] == pytest.approx(expected["pearson_cosine"], abs=1e-5)


def test_rivals_by_principal_directions_are_fitted_on_documents(sided, plain):
    data = judged()
    model = Embedder(Nesting(dims=(8, WIDTH)), WIDTH, encoder=Encoder(str(sided)))
    model.about = {"options": {"model": str(sided)}}
    (small, _) = rival(model, "pca", data)
    _, _, directions = np.linalg.svd(plain.encode_document(data.corpus.texts).astype(np.float64))
    np.testing.assert_allclose(np.abs((small.weight.numpy()[:8] * directions[:8]).sum(axis=1)), 1, atol=1e-4)


def test_tasks_go_behind_the_bases_own_prompts(sided, plain, tmp_path):
    model = TaskLoRA(str(sided), ("retrieval.query", "retrieval.passage", "text-matching"), dims=(8, WIDTH))
    assert model.instructions == {"retrieval.query": QUERY, "retrieval.passage": DOCUMENT}
    model.save(tmp_path / "saved")
    for one in (model, az.load(tmp_path / "saved")):
        np.testing.assert_allclose(one.encode_query(TEXTS), plain.encode_query(TEXTS), atol=1e-5)
        np.testing.assert_allclose(one.encode_document(TEXTS), plain.encode_document(TEXTS), atol=1e-5)
        # Rows of one batch whose prompts are of different lengths, none of which are pooled.
        mixed = one.encode(TEXTS[:2], task=["retrieval.passage", "retrieval.query"])
        np.testing.assert_allclose(mixed[0], plain.encode_document(TEXTS[:1])[0], atol=1e-5)
        np.testing.assert_allclose(mixed[1], plain.encode_query(TEXTS[1:2])[0], atol=1e-5)
    cut = model.extract(task="retrieval.passage", dims=8)
    for found in by_side(cut, TEXTS).values():  # one task, by whichever method it is asked
        np.testing.assert_allclose(found, model.at(dims=8).encode_document(TEXTS), atol=1e-5)
    view = model.for_task("text-matching")
    np.testing.assert_array_equal(view.encode_query(TEXTS), view.encode(TEXTS))
    assert TaskLoRA(str(sided), instructions={}).prompt_of("retrieval.passage") == DOCUMENT


def test_tasks_over_a_base_that_cuts_its_vectors(tmp_path):
    path = make(KINDS["truncated"], tmp_path)
    plain = SentenceTransformer(str(path), device="cpu")
    model = TaskLoRA(str(path), ("retrieval.query", "retrieval.passage"), dims=(8, 16))
    model.save(tmp_path / "saved")
    for one in (model, az.load(tmp_path / "saved"), model.extract(task="retrieval.query")):
        np.testing.assert_allclose(one.encode_query(TEXTS), unit(plain.encode_query(TEXTS)), atol=1e-5)


@pytest.mark.parametrize("name", ["truncated", "truncated-dense", "sided"])
def test_a_chunk_of_a_whole_text_is_the_text_as_a_document(name, tmp_path):
    path = make(KINDS[name], tmp_path)
    plain, text = SentenceTransformer(str(path), device="cpu"), TEXTS[0]
    expected = unit(plain.encode_document([text]))[0]
    width = len(expected)
    for model in (
        NestedEncoder.from_pretrained(str(path), layers=(2,)),
        Embedder(Nesting(dims=(width,)), width, encoder=Encoder(str(path))),
    ):
        (found,) = late_chunk(model, text, [(0, len(text))], pool_prefix=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "method"),
    [("float16", "head"), ("bfloat16", "head"), ("bfloat16", "full"), ("float16", "starbucks"), ("bfloat16", "tasks"),
     ("float16", "codes")],
)  # fmt: skip
def test_a_base_of_16_bits_learns_and_is_saved(name, method, tmp_path):
    path = make(KINDS[name], tmp_path)
    width = KINDS[name].dense or WIDTH
    shared = {"model": str(path), "dims": (8, width), "batch_size": 4, "epochs": 1.0}
    chosen = {
        "head": lambda: MRL(**shared),
        "full": lambda: MRL(**shared, tune="full", learning_rate=1e-6),
        "starbucks": lambda: Starbucks(**shared, layers=(1, 2), learning_rate=1e-6),
        "codes": lambda: MatQuant(model=str(path), bits=(8, 4), batch_size=4, learning_rate=1e-6),
        "tasks": lambda: Tasks(
            model=str(path), task=[f"retrieval={written(tmp_path)}"], dims=(8, width), batch_size=4, learning_rate=1e-6
        ),
    }[method]()
    floats = float_model(chosen) if method == "codes" else None
    model = chosen.fit(DATA, workdir=tmp_path / "work")
    model.save(tmp_path / "saved")
    loaded = az.load(tmp_path / "saved")
    assert loaded.fingerprint == model.fingerprint
    near = 2e-2 if method == "head" else 1e-5
    np.testing.assert_allclose(loaded.encode_query(TEXTS), model.encode_query(TEXTS), atol=near)
    if floats is not None:
        assert {weight.dtype for weight in floats.parameters()} == {torch.float32}
    if method in ("full", "starbucks"):
        # So small a step is lost in the rounding of 16 bits.
        before = SentenceTransformer(str(path), device="cpu", model_kwargs={"dtype": torch.float32})
        after = model.encoder.model[0].auto_model if method == "full" else model.encoder.transformer
        moved = [
            float((one - other).detach().abs().max())
            for one, other in zip(after.parameters(), before[0].auto_model.parameters(), strict=True)
        ]
        assert 0 < max(moved) < 1e-4


def written(folder: Path) -> Path:
    from tests.conftest import write_pairs

    return write_pairs(folder / "pairs.jsonl", count=12)


def test_bases_whose_settings_a_cut_in_layers_cannot_keep_are_refused_by_name(tmp_path):
    path = make(Kind("qwen3", "lasttoken", padding="left", chat=True), tmp_path)
    chats = SentenceTransformer(
        modules=[Transformer(str(tmp_path / "raw")), Pooling(WIDTH, "lasttoken"), Normalize()], device="cpu"
    )
    first, pooling, *_ = SentenceTransformer(str(path), device="cpu")
    bounded = SentenceTransformer(str(path), device="cpu")
    bounded[0].query_length = 4
    for model, why in (
        (chats, r"this model reads .*message"),
        (SentenceTransformer(modules=[first, pooling, Dense(WIDTH, 8, activation_function=torch.nn.Hardtanh())]),
         "a Dense module with Hardtanh"),
        (SentenceTransformer(modules=[first, pooling, Dense(WIDTH, 8, module_output_name="x")]), "a Dense module over"),
        (SentenceTransformer(modules=[first, pooling, pooling]), "expected Pooling once"),
        (bounded, "query_length of its own"),
    ):  # fmt: skip
        with pytest.raises(AnysizeError, match=why) as refused:
            NestedEncoder.from_pretrained(model, layers=(1,))
        assert "\n" not in str(refused.value)
    # Read as it is, without layers, such a base is no difficulty.
    model = Embedder(Nesting(dims=(8, WIDTH)), WIDTH, encoder=Encoder(chats))
    np.testing.assert_allclose(model.extract().encode(TEXTS), chats.encode(TEXTS), atol=1e-5)


def test_a_tokenizer_without_a_limit_reads_whole_texts(tmp_path):
    path = make(Kind(), tmp_path)
    plain = SentenceTransformer(str(path), device="cpu")
    plain.max_seq_length = int(1e30)
    model = NestedEncoder.from_pretrained(plain, layers=(2,))
    text = " ".join(sentences(5))  # 30 words, all of which count
    np.testing.assert_allclose(model.encode([text]), plain.encode([text]), atol=1e-5)


def test_info_tells_the_prompts_of_every_kind_of_model(sided, tmp_path, anysize):
    encoder = NestedEncoder.from_pretrained(str(sided), layers=(2,), dims=(8, WIDTH))
    embedder = Embedder(Nesting(dims=(8, WIDTH)), WIDTH, encoder=Encoder(str(sided)))
    codes = finished(prepared(copy.deepcopy(encoder), Nesting(layers=(2,), dims=(8, WIDTH), bits=(4, 8))))
    for name, model in (("layers", encoder), ("head", embedder), ("codes", codes), ("tasks", TaskLoRA(str(sided)))):
        model.save(tmp_path / name)
    embedder.extract().save(str(tmp_path / "cut"), create_model_card=False)
    for name in ("layers", "head", "codes", "tasks", "cut"):
        said = anysize("info", tmp_path / name)
        assert f"query: {QUERY!r}" in said.out, name
        assert f"document: {DOCUMENT!r}" in said.out, name
        assert said.out.split("default prompt")[1].split()[0] == "query"
    assert anysize("info", tmp_path / "cut", "--json").json["trained_dims"] == [8, WIDTH]


def test_the_prompts_of_the_matrix_are_in_use():
    assert {*SIDED["prompts"].values(), OTHER} == {QUERY, DOCUMENT, OTHER}
