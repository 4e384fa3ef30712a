"""Every public function with an argument that people give by hand, one place an argument."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import anysize as az
from anysize import classify, editing, quantize, search, sparse, text, vision
from anysize.core.data.data import Data
from anysize.core.data.records import Items, Table
from anysize.vision.franca.fit import sizes
from tests.wrong_input.domains import beam_places, coding_places
from tests.wrong_input.zoo import NOT_DATA, NOT_PATHS, NOT_ROWS, NOT_SIZES, NOT_TEXTS, NUMBERS, SAE_ROWS, Place


def _sizes() -> Iterator[Place]:
    yield Place("Size", lambda s, x: az.Size(x), "True, a text, [1], nan, an object")
    yield Place("Size(dims=)", lambda s, x: az.Size(dims=x), NUMBERS + ", zero, minus one")
    yield Place("Size.parse", lambda s, x: az.Size.parse(x), "None, zero, a text, an object, an empty text")
    yield Place("Nesting(dims=)", lambda s, x: az.Nesting(dims=x), "None, zero, [None], a text, an object")
    yield Place(
        "Nesting(weights=)", lambda s, x: az.Nesting(weights=x, dims=(8, 32)), "zero, a text and None, an object"
    )
    yield Place("Nesting.pairs", lambda s, x: az.Nesting.pairs(x), "None, zero, [None], a text, an object")
    yield Place(
        "Nesting(open=)", lambda s, x: az.Nesting(open=x, dims=(8, 32)), "None, zero, [None], a text, an object"
    )
    yield Place(
        "Nesting.parse", lambda s, x: az.Nesting.parse(x), "None, zero, [None], a text, an empty text, an object"
    )
    yield Place("Nesting.resolve", lambda s, x: s.embedder.nesting.resolve(x), "zero, [None], a text, an object")
    yield Place(
        "Nesting.resolve_all", lambda s, x: s.embedder.nesting.resolve_all(x), "zero, [None], a text, an object"
    )
    yield Place("Nesting.from_json", lambda s, x: az.Nesting.from_json(x), "None, a text, an empty mapping, [1]")
    yield Place("Nesting.values", lambda s, x: s.embedder.nesting.values(x), "None, a text, an object")
    yield Place("Nesting.up_to", lambda s, x: s.embedder.nesting.up_to(x), "a text, an object, zero")
    yield Place("at", lambda s, x: s.embedder.at(x), NOT_SIZES)
    yield Place("at(dims=)", lambda s, x: s.embedder.at(dims=x), NUMBERS + ", zero")
    yield Place("extract", lambda s, x: s.embedder.extract(x), NOT_SIZES)
    yield Place("extract(dims=)", lambda s, x: s.classifier.extract(dims=x), NUMBERS + ", zero")
    yield Place("outputs(sizes=)", lambda s, x: s.embedder.outputs(s.rows, x), "True, a text, [None], [1], an object")


def _verbs() -> Iterator[Place]:
    yield Place("read", lambda s, x: az.read(x), NOT_DATA + ", an empty text, bytes, a text and None")
    yield Place("load", lambda s, x: az.load(x), NOT_PATHS + ", a path, a text, an empty text")
    yield Place("load(size)", lambda s, x: az.load(_saved(s), x), NOT_SIZES)
    yield Place("fit", lambda s, x: az.fit(x, dims=(8, 32)), NOT_DATA + ", a frame")
    yield Place("fit(method=)", lambda s, x: az.fit(_vectors(s), method=x), "None, zero, a text, an object, a class")
    yield Place("fit(out=)", lambda s, x: az.fit(_vectors(s), out=x, resume=True), "None, zero, an object")
    yield Place("fit(dims=)", lambda s, x: az.fit(_vectors(s), dims=x, epochs=1), "zero, a text, [None], an object")
    yield Place(
        "fit(epochs=)",
        lambda s, x: az.fit(_vectors(s), dims=(8, 32), epochs=x),
        "minus one, nan, infinity, a text, an object",
        leaves_out="huge",
    )
    yield Place(
        "fit(batch_size=)",
        lambda s, x: az.fit(_vectors(s), dims=(8, 32), epochs=0.1, batch_size=x),
        "zero, minus one, a fraction, nan, a text, an object",
    )
    yield Place(
        "fit(learning_rate=)",
        lambda s, x: az.fit(_vectors(s), dims=(8, 32), epochs=0.1, learning_rate=x),
        "minus one, nan, infinity, a text, an object",
    )
    yield Place(
        "fit(latnts=)", lambda s, x: az.fit(_vectors(s), method="matryoshka-sae", latnts=x), "None, [1], a text"
    )
    yield Place("measure", lambda s, x: az.measure(x, _vectors(s)), "None, zero, a text, an object, a class")
    yield Place("measure(data)", lambda s, x: az.measure(s.embedder, x, arms=[]), NOT_DATA + ", a frame")
    yield Place(
        "measure(arms=)", lambda s, x: az.measure(s.embedder, _vectors(s), arms=x), "zero, a text, [None], an object"
    )
    yield Place(
        "measure(sizes=)",
        lambda s, x: az.measure(s.embedder, _vectors(s), arms=[], sizes=x),
        "zero, a text, [None], an object",
    )
    yield Place(
        "measure(by=)", lambda s, x: az.measure(s.embedder, _vectors(s), arms=[], by=x), "zero, a text, an object"
    )


def _frontiers() -> Iterator[Place]:
    yield Place(
        "Frontier.from_json", lambda s, x: az.Frontier.from_json(x), NOT_PATHS + ", a path, a text, an empty text"
    )
    yield Place("Record.from_json", lambda s, x: az.Record.from_json(x), "None, a text, an empty mapping, [1]")
    yield Place("cheapest(within=)", lambda s, x: s.frontier.cheapest(within=x), "nan, minus one, a text, an object")
    yield Place("cheapest(as_good_as=)", lambda s, x: s.frontier.cheapest(as_good_as=x), "zero, a text, an object")
    yield Place("cheapest(max_bytes=)", lambda s, x: s.frontier.cheapest(max_bytes=x), "zero, nan, a text, an object")
    yield Place("cheapest(max_ms=)", lambda s, x: s.frontier.cheapest(max_ms=x), "nan, minus one, a text, an object")
    yield Place("cheapest(metric=)", lambda s, x: s.frontier.cheapest(within=0.1, metric=x), "zero, a text, an object")
    yield Place("pareto(cost=)", lambda s, x: s.frontier.pareto(cost=x), "None, a text, an object")
    yield Place("arm", lambda s, x: s.frontier.full(x), "None, a text, an object")
    yield Place("to_json", lambda s, x: s.frontier.to_json(x), "zero, an object")
    yield Place("to_html", lambda s, x: s.frontier.to_html(x), "None, zero, an object")


def _models() -> Iterator[Place]:
    for name in ("texts", "layered", "quantized"):
        yield Place(f"{name}.encode", lambda s, x, name=name: getattr(s, name).encode(x), NOT_TEXTS)
        yield Place(f"{name}.outputs", lambda s, x, name=name: getattr(s, name).outputs(x), NOT_TEXTS)
    yield Place("embedder.encode", lambda s, x: s.embedder.encode(x), f"{NOT_TEXTS}, {NOT_ROWS}")
    yield Place("embedder.project", lambda s, x: s.embedder.project(x), NOT_ROWS + ", None, a text")
    yield Place("embedder.project(dims=)", lambda s, x: s.embedder.project(s.rows, x), "minus one, a text, a fraction")
    yield Place("Encoder.encode", lambda s, x: s.encoder.encode(x), NOT_TEXTS)
    yield Place(
        "Encoder.encode(batch_size=)", lambda s, x: s.encoder.encode(["a"], batch_size=x), NUMBERS + ", zero, minus one"
    )
    yield Place(
        "layered.encode(sizes=)", lambda s, x: s.layered.encode(["ba"], sizes=x), "zero, a text, [1], an object"
    )
    yield Place(
        "NestedEncoder.from_pretrained", lambda s, x: text.NestedEncoder.from_pretrained(x, dims=(8,)), NOT_PATHS
    )
    yield Place("CausalLM.from_pretrained", lambda s, x: quantize.CausalLM.from_pretrained(x), NOT_PATHS)
    yield Place("CausalLM.tokens", lambda s, x: s.lm.tokens(x), NOT_TEXTS)
    yield Place("save", lambda s, x: s.embedder.save(x), "None, zero, an object, a flat array")
    yield Place("classifier.predict", lambda s, x: s.classifier.predict(x), NOT_ROWS + ", None, a text")
    yield Place("classifier.probabilities", lambda s, x: s.classifier.probabilities(x), NOT_ROWS + ", None, a text")
    yield Place(
        "fit_classifier",
        lambda s, x: classify.fit_classifier(x, ["a", "b"] * 20, epochs=1),
        NOT_ROWS + ", None, a text",
    )
    yield Place(
        "fit_classifier(labels)",
        lambda s, x: classify.fit_classifier(s.rows, x, epochs=1),
        "None, zero, [None], a text, an object",
    )
    yield Place("late_chunk", lambda s, x: text.late_chunk(s.layered, x, text.by_tokens(4)), "None, zero, an object")
    yield Place("ArabicNormalizer", lambda s, x: text.ArabicNormalizer()(x), "None, zero, an object, bytes")


def _indexes() -> Iterator[Place]:
    build = az.Index.build
    yield Place("Index.build(path)", lambda s, x: build(x, None, s.rows), "None, zero, an object, a flat array")
    yield Place(
        "Index.build(items)",
        lambda s, x: build(s.new(), None, x),
        "None, zero, [None], [nan], an object, a mapping, a frame, a text, three axes, no columns, rows with nan, "
        "complex rows, rows of two widths, masked rows",
    )
    yield Place(
        "Index.build(texts)",
        lambda s, x: build(s.new(), s.texts, x),
        "None, zero, [None], an object, half characters, a text and None, a text, bytes",
    )
    yield Place("Index.build(model)", lambda s, x: build(s.new(), x, s.rows), "zero, a text, an object, a path")
    yield Place(
        "Index.build(ids=)",
        lambda s, x: build(s.new(), None, s.rows[:2], ids=x),
        "zero, [None], [nan], a text and None, an object",
    )
    yield Place(
        "Index.build(block=)", lambda s, x: build(s.new(), None, s.rows, block=x), NUMBERS + ", zero, minus one"
    )
    yield Place("Index.build(metric=)", lambda s, x: build(s.new(), None, s.rows, metric=x), "None, a text, an object")
    yield Place(
        "Index.build(nesting=)", lambda s, x: build(s.new(), None, s.rows, nesting=x), "zero, a text, an object"
    )
    yield Place("Index.open", lambda s, x: az.Index.open(x), NOT_PATHS + ", a path, a text")
    yield Place(
        "search",
        lambda s, x: s.index.search(x),
        "None, True, zero, a text, an object, rows with nan, another width, three axes, a frame, [None], "
        "dates in an array, complex rows, rows beyond float32",
    )
    yield Place(
        "search a text", lambda s, x: s.words.search(x), "None, zero, an empty text, half a character, an object"
    )
    yield Place("search(k=)", lambda s, x: s.index.search(s.rows[0], k=x), NUMBERS + ", zero, minus one")
    yield Place("search(stages=)", lambda s, x: s.index.search(s.rows[0], stages=x), "zero, a text, [None], an object")
    yield Place(
        "search(approximate=)", lambda s, x: s.index.search(s.rows[0], approximate=x), "zero, a text, an object"
    )
    yield Place(
        "search_many",
        lambda s, x: s.index.search_many(x),
        "None, zero, a text, an object, [None], rows with nan, another width, three axes",
    )
    yield Place("search_many of texts", lambda s, x: s.words.search_many(x), "None, zero, a text, [None], an object")
    yield Place("add", lambda s, x: s.index.add(x), "None, zero, [None], an object, another width, rows with nan")
    yield Place("delete", lambda s, x: s.index.delete(x), "None, a text, [None], an object, a mapping")
    yield Place("Stage(dims=)", lambda s, x: search.Stage(dims=x), NUMBERS + ", minus one")
    yield Place("Stage(keep=)", lambda s, x: search.Stage(dims=8, keep=x), "zero, minus one, nan, a text, an object")
    yield Place("Stage.parse", lambda s, x: search.Stage.parse(x), "None, zero, a text, an object")


def _sparse() -> Iterator[Place]:
    yield Place("sae.encode", lambda s, x: s.sae.encode(x), SAE_ROWS)
    yield Place("sae.outputs", lambda s, x: s.sae.outputs(x), SAE_ROWS)
    yield Place("sae.decode", lambda s, x: s.sae.decode(x), "None, a text, an object, [None]")
    yield Place("importance", lambda s, x: sparse.importance(s.sae, x), SAE_ROWS)
    yield Place("importance(by=)", lambda s, x: sparse.importance(s.sae, s.sae_rows, x), "None, a text, an object")
    yield Place(
        "prune(latents)",
        lambda s, x: sparse.prune(s.sae, x, s.sae_rows),
        "None, True, zero, minus one, huge, nan, [None], a text, an object",
    )
    yield Place("prune(x)", lambda s, x: sparse.prune(s.sae, 8, x), SAE_ROWS)
    yield Place("look(x)", lambda s, x: sparse.look(s.sae, x, ["a"] * 60), SAE_ROWS)
    yield Place("look(inputs)", lambda s, x: sparse.look(s.sae, s.sae_rows, x), "None, zero, [None], an object")
    yield Place("concept_search(query)", lambda s, x: sparse.concept_search(s.sae, x, s.sae_rows), SAE_ROWS)
    yield Place(
        "concept_search(k=)",
        lambda s, x: sparse.concept_search(s.sae, s.sae_rows[0], s.sae_rows, k=x),
        NUMBERS + ", zero, minus one",
    )
    yield Place(
        "edit(values)", lambda s, x: sparse.edit(s.sae, s.sae_rows, x), "None, zero, a text, a mapping, an object"
    )
    yield Place(
        "name_concepts", lambda s, x: sparse.name_concepts(s.sae, x, s.sae_rows[:2]), "None, zero, [None], an object"
    )
    yield Place("fit_power_law", lambda s, x: sparse.fit_power_law(x), "None, a text, [None], an object")
    yield Place(
        "fit_probe(labels)", lambda s, x: sparse.fit_probe(s.sae_rows, x, epochs=1), "None, zero, [None], an object"
    )
    yield Place("cknna(k=)", lambda s, x: sparse.cknna(s.sae_rows, s.sae_rows, x), NUMBERS + ", zero, minus one, huge")
    yield Place("fvu", lambda s, x: sparse.fvu(s.sae_rows, x), "None, a text, another width, an object, rows with nan")
    yield Place("rsa", lambda s, x: sparse.rsa(s.sae_rows, x), "None, a text, another width, an object")
    yield Place("reconstruction", lambda s, x: sparse.reconstruction(s.sae, x), SAE_ROWS)


def _quantized() -> Iterator[Place]:
    yield Place("mix", lambda s, x: s.quantized.mix(x), "None, zero, a text, a mapping, an object")
    yield Place("by_pattern", lambda s, x: quantize.by_pattern(s.quantized, x, 4.0), "None, zero, a text, an object")
    yield Place(
        "by_pattern(average)", lambda s, x: quantize.by_pattern(s.quantized, "pyramid", x), NUMBERS + ", minus one"
    )
    yield Place("slice_bits(r)", lambda s, x: quantize.slice_bits(np.arange(8), x), NUMBERS + ", zero, minus one")
    yield Place(
        "Scheme(group_size=)", lambda s, x: quantize.Scheme(group_size=x), "zero, minus one, nan, a text, an object"
    )
    yield Place("Scheme(parent_bits=)", lambda s, x: quantize.Scheme(parent_bits=x), NUMBERS + ", zero, minus one")
    yield Place(
        "running_at", lambda s, x: quantize.running_at(x).__enter__(), "zero, minus one, nan, a text, an object"
    )


def _edits() -> Iterator[Place]:
    yield Place("EditRequest", lambda s, x: editing.EditRequest(x, "two words"), "None, zero, an empty text, an object")
    yield Place("EditRequest(target_new=)", lambda s, x: editing.EditRequest("Who?", x), "None, zero, bytes, an object")
    yield Place("Delta.load", lambda s, x: editing.Delta.load(x), NOT_PATHS + ", a path, a text, an empty text")
    yield Place("composed", lambda s, x: editing.composed(x), "None, zero, [None], a text, an empty list, an object")
    yield Place(
        "Editor.delta", lambda s, x: _editor(s).delta(x), "None, zero, [None], a text, an empty list, an object"
    )
    yield Place("fit(muke)", lambda s, x: az.fit(x, method="muke", model="none"), NOT_DATA + ", a frame, an empty text")


def _editor(shop: Any) -> editing.Editor:
    return editing.Editor(shop.lm, editing.MuKE(layers=(1,)))


def _records() -> Iterator[Place]:
    yield Place("Items(ids)", lambda s, x: Items(x, ["a", "b"]), "None, zero, an object")
    yield Place("Items(rows=)", lambda s, x: Items(["1", "2"], x), "None, zero, an object")
    yield Place("Table", lambda s, x: Table({"anchor": x, "positive": ["a", "b"]}), "None, zero, an object")
    yield Place(
        "Data(table=)",
        lambda s, x: Data("d", "d", table=Table({"sentence1": ["a"], "sentence2": ["b"], "score": x})).scored,
        "None, zero, [None], [nan], an object",
    )


def _vision() -> Iterator[Place]:
    refused = "None, a text, an object, a generator, three axes, complex rows, a tensor on no device"
    yield Place("position_probe_r2", lambda s, x: vision.position_probe_r2(x), refused)
    yield Place("RASA.fit", lambda s, x: vision.RASA().fit(x), refused)
    yield Place("spatial_entropy", lambda s, x: vision.spatial_entropy(x), refused)
    yield Place("Franca(dims=)", lambda s, x: sizes(vision.Franca(dims=x), 8), "zero, a text, [None], an object")


def _vectors(shop: Any) -> Data:
    return Data("rows", "rows", corpus=Items([str(row) for row in range(len(shop.rows))], shop.rows, "vector"))


def _saved(shop: Any) -> Any:
    path = shop.root / "saved"
    if not path.exists():
        shop.embedder.save(path)
    return path


PLACES = [
    *_sizes(),
    *_verbs(),
    *_frontiers(),
    *_models(),
    *_indexes(),
    *_sparse(),
    *_quantized(),
    *_edits(),
    *_records(),
    *beam_places(),
    *coding_places(),
    *_vision(),
]
