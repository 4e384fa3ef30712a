import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch.nn import functional

import anysize as az
from anysize.core.data.read import read
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.losses.columns import cosent, in_batch_softmax
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.rivals import rival
from anysize.quantize import MatQuant, QuantizedEncoder
from anysize.quantize.layers.choosing import stacks
from anysize.quantize.model.making import prepared
from anysize.quantize.training.columns import collate, columns
from anysize.quantize.training.fit import float_model
from anysize.quantize.training.objective import CodesTraining
from anysize.quantize.training.omniquant import Call, _first_inputs, _sample, real_tokens
from anysize.quantize.training.widths import widths
from anysize.testing import check_nested_model
from tests.conftest import WIDTH, WORDS, neighbour_overlap, sentences, write_pairs
from tests.text.bases import SIDED, Kind, make


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs.jsonl", count=48)


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": one}) for one in sentences(96)))
    return tmp_path / "texts.jsonl"


@pytest.fixture
def options(encoder_path):
    return {"model": str(encoder_path), "batch_size": 8, "learning_rate": 1e-3, "seed": 1, "modules": ("linear",)}


def test_what_is_fitted_keeps_every_promise_and_says_how_it_was_made(options, pairs, tmp_path):
    method = MatQuant(**options)
    model = az.fit(pairs, method=method, out=tmp_path / "out")
    assert model.nesting.values("bits") == (2, 3, 4, 6, 8)
    assert model.nesting.weights == (1.0, 0.0, 0.1, 0.0, 0.1)
    check_nested_model(model, sentences(4))
    loaded = az.load(tmp_path / "out", bits=4)
    assert isinstance(loaded, QuantizedEncoder)
    assert loaded.about["method"] == "matquant"
    assert loaded.about["learnt_from"] == "pairs"
    assert loaded.plan.trained_bits == (8, 4, 2)
    np.testing.assert_array_equal(loaded.encode(sentences(4)), model.at(bits=4).encode(sentences(4)))


def closeness(model, floats, bits):
    return float((model.at(bits=bits).encode(sentences(40, 3)) * floats).sum(1).mean())


def test_omniquant_leaves_padding_out(options):
    method = MatQuant(**options)
    model = prepared(float_model(method), method.nesting(), modules="ffn")
    texts = [" ".join(WORDS[:count]) for count in (1, 5, 2)]
    blocks = list(next(iter(stacks(model.inner).values())))
    (state,), calls = _first_inputs(model, blocks, [texts])
    mask = model.inner.encoder.tokens(texts)["attention_mask"].bool()
    assert mask.sum() < mask.numel()
    for (call,) in calls:
        assert torch.equal(real_tokens(state, call), mask)
        assert real_tokens(state[:1, :1], Call((), {})).all()


def test_omniquant_looks_at_texts_on_the_side_of_their_column(options, pairs, texts):
    method = MatQuant(**options)
    model = prepared(float_model(method), method.nesting(), modules="ffn")
    data = read(pairs)
    batches, _ = _sample(method, data, model)
    learnt = data.training_pairs()
    for side, column in zip(("query", "document"), learnt.columns.values(), strict=True):
        mine = [batch for batch in batches if batch.side == side]
        assert all(len(batch) <= method.batch_size for batch in mine)
        assert {text for batch in mine for text in batch} == set(column)
    batches, _ = _sample(MatQuant(**options, sides="symmetric"), data, model)
    assert {batch.side for batch in batches} == {None}
    every = {text for column in learnt.columns.values() for text in column}
    assert {text for batch in batches for text in batch} == every
    assert {batch.side for batch in _sample(method, read(texts), model)[0]} == {"document"}


def test_embeddings_are_learnt_on_the_side_of_their_column(options, pairs, tmp_path):
    base = make(Kind(settings=SIDED), tmp_path)
    method = MatQuant(**{**options, "model": str(base), "bits": (8, 4), "learn_from": "embeddings"})
    data = read(pairs)
    learnt, rows = data.training_pairs(), columns(data, "embeddings", method.sides)
    by_side = {side: {row.texts[0] for row in rows if row.side == side} for side in ("query", "document")}
    assert by_side == {"query": set(learnt["anchor"]), "document": set(learnt["positive"])}
    assert {row.side for row in columns(data, "embeddings", "symmetric")} == {None}
    floats = float_model(method)
    model = prepared(float_model(method), method.nesting(), bits=(8, 4), modules="linear")
    batch = collate([rows[place] for place in (0, len(rows) - 1, 1)])
    assert batch["first"] == ["query", "document", "query"]
    loss = CodesTraining(model, method.widths(), 20.0, floats, rows.sides)(**batch)["loss"]
    expected, weights = 0.0, method.widths().weights
    plain = SentenceTransformer(str(base), device="cpu")
    for (text,), side in zip(zip(*batch["columns"], strict=True), batch["first"], strict=True):
        (wanted,) = getattr(plain, f"encode_{side}")([text], normalize_embeddings=True)
        for bits in (8, 4):
            (found,) = getattr(model.at(bits=bits), f"encode_{side}")([text])
            expected += weights[bits] * (1 - float(found @ wanted)) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    turned = CodesTraining(model, method.widths(), 20.0, floats, rows.sides)(batch["columns"])["loss"]
    assert abs(loss.item() - turned.item()) > 1e-4  # as documents all


@pytest.mark.parametrize(("base", "rate", "epochs"), [("qat", 2e-3, 8), ("omniquant", 2e-2, 8)])
def test_training_brings_two_bits_nearer_to_the_float_model(options, texts, base, rate, epochs):
    method = MatQuant(**{**options, "base": base, "learning_rate": rate, "epochs": epochs, "weights": ("1",) * 3})
    floats = float_model(method).encode(sentences(40, 3))
    model, untrained = method.fit(read(texts)), MatQuant(**{**options, "base": "minmax"}).fit(read(texts))
    near, before = closeness(model, floats, 2), closeness(untrained, floats, 2)
    assert 1 - near < 0.75 * (1 - before), (near, before)
    assert closeness(model, floats, 8) > max(0.95, near)
    assert closeness(untrained, floats, 8) > 0.999
    assert model.about["losses"]


def test_the_nested_loss_is_its_definition(options, pairs, encoder_path):
    """Equation 7, summed by hand over widths, and the pull of 2 to 8 bits."""
    from anysize.quantize.model.making import prepared

    method = MatQuant(**{**options, "bits": (8, 4), "distill": "8->2", "weights": ("0.25", "0.5")})
    asked = method.widths()
    assert (asked.weights, asked.pulls, asked.teacher) == ({8: 0.25, 4: 0.5, 2: 0.0}, {2: 1.0}, 8)
    model = prepared(float_model(method), method.nesting(), bits=asked.trained, modules="linear")
    one, two = sentences(6), sentences(6, 4)
    loss = CodesTraining(model, asked, scale=20.0)([one, two])["loss"]
    vectors = {bits: (model.at(bits=bits)(one), model.at(bits=bits)(two)) for bits in (2, 4, 8)}
    expected = sum(
        weight * functional.cross_entropy(20 * vectors[bits][0] @ vectors[bits][1].T, torch.arange(6))
        for bits, weight in ((8, 0.25), (4, 0.5))
    )
    for column in (0, 1):
        expected = expected + (1 - (vectors[2][column] * vectors[8][column].detach()).sum(1)).mean() / 2
    torch.testing.assert_close(loss, expected)
    parts = [part.weight for part in model.inner.modules() if hasattr(part, "scheme")]
    found = torch.autograd.grad(loss, parts)
    for mine, theirs in zip(found, torch.autograd.grad(expected, parts), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_width_that_weighs_nothing_is_not_run(options, texts):
    """Single precision (the paper's S.P.): 2-bit slices of 8-bit codes, and nothing else, cost and teach."""
    from anysize.quantize.model.making import prepared

    single = {**options, "weights": ("0", "0", "1")}
    method = MatQuant(**single)
    model = prepared(float_model(method), method.nesting(), bits=method.widths().trained, modules="linear")
    assert [size.bits for size in CodesTraining(model, method.widths(), scale=20.0).sizes] == [2]
    assert MatQuant(**single, base="omniquant").fit(read(texts)).about["inputs_at_bits"] == 2
    assert widths((8, 4, 2), 8, weights=(0, 1, 0), distill="8->2").looked_at == (8, 4, 2)


def test_losses_are_those_of_sentence_transformers(encoder_path):
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MultipleNegativesRankingLoss

    from anysize.backbones.sentence import Encoder

    model = Encoder(str(encoder_path)).model
    columns = [functional.normalize(torch.randn(6, 8), dim=-1) for _ in range(3)]
    labels = torch.tensor([0.0, 1.0, 1.0, 3.0, 2.0, 0.5])
    theirs = MultipleNegativesRankingLoss(model).compute_loss_from_embeddings(columns, None)
    torch.testing.assert_close(in_batch_softmax(columns, 20.0), theirs)
    theirs = CoSENTLoss(model).compute_loss_from_embeddings(columns[:2], labels)
    torch.testing.assert_close(cosent((columns[0] * columns[1]).sum(-1), labels, 1 / 20.0), theirs)


def test_only_what_becomes_codes_moves_unless_all_shall(options, pairs):
    method = MatQuant(**{**options, "modules": ("ffn",), "epochs": 3})
    base, model = float_model(method), method.fit(read(pairs))
    words = "encoder.transformer.embeddings.word_embeddings.weight"
    assert torch.equal(base.state_dict()[words], model.inner.state_dict()[words])
    free = MatQuant(**{**options, "modules": ("ffn",), "train": "all"}).fit(read(pairs))
    assert not torch.equal(base.state_dict()[words], free.inner.state_dict()[words])


@pytest.mark.parametrize("base", ["qat", "omniquant"])
def test_a_stopped_fit_resumes_to_the_same_codes(options, texts, tmp_path, monkeypatch, base):
    method = MatQuant(**{**options, "base": base, "epochs": 2})
    whole = az.fit(texts, method=method, out=tmp_path / "whole")
    module, name, after = {
        "qat": ("anysize.quantize.training.objective", "nested_loss", 14),
        "omniquant": ("anysize.quantize.training.omniquant", "_fit_block", 1),
    }[base]
    work = getattr(__import__(module, fromlist=[name]), name)
    calls = []

    def interrupted(*args, **named):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return work(*args, **named)

    monkeypatch.setattr(f"{module}.{name}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        az.fit(texts, method=method, out=tmp_path / "cut")
    calls.clear()
    monkeypatch.setattr(f"{module}.{name}", lambda *args, **named: (calls.append(1), work(*args, **named))[1])
    resumed = az.fit(texts, method=method, out=tmp_path / "cut", resume=True)
    assert 0 < len(calls) < {"qat": 24, "omniquant": 2}[base]  # it went on where it stopped
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_three_axes_at_once(options, pairs, tmp_path):
    sizes = ("layers=1:dims=8:bits=2", "layers=2:dims=8:bits=4", "layers=2:dims=32:bits=8")
    model = MatQuant(**{**options, "sizes": sizes}).fit(read(pairs))
    assert [str(size) for size in model.nesting] == [size.replace(":", ",") for size in sizes]
    assert model.nesting.weights == (1.0, 0.1, 0.1)
    model.save(tmp_path / "m")
    small = az.load(tmp_path / "m", "layers=1,dims=8,bits=2")
    np.testing.assert_allclose(small.encode(sentences(3)), model.at(small.size).encode(sentences(3)), atol=1e-6)
    grid = MatQuant(**{**options, "layers": (1, 2), "dims": (8, 32), "bits": (8, 2), "untrained": ()}).nesting()
    assert len(grid) == 8
    assert grid[0] == Size(layers=1, dims=8, bits=2)


def test_a_model_of_ours_can_be_quantised(options, pairs, tmp_path):
    from anysize.text import NestedEncoder

    NestedEncoder.from_pretrained(options["model"], layers=(1, 2), dims=(8, WIDTH)).save(tmp_path / "nested")
    base = {**options, "model": str(tmp_path / "nested"), "base": "minmax"}
    model = MatQuant(**{**base, "layers": (1, 2), "dims": (8, WIDTH)}).fit(read(pairs))
    assert model.nesting.axes == ("layers", "dims", "bits")
    assert MatQuant(**base).fit(read(pairs)).nesting.axes == ("bits",)
    with pytest.raises(SizeError, match="trained for dims 8, 32"):
        MatQuant(**{**base, "dims": (16,)}).fit(read(pairs))
    model.save(tmp_path / "codes")
    with pytest.raises(AnysizeError, match="quantised already"):
        MatQuant(**{**base, "model": str(tmp_path / "codes")}).fit(read(pairs))


def test_every_rival_stands_in_the_frontier(options, pairs):
    model = MatQuant(**{**options, "bits": (8, 2), "untrained": ()}).fit(read(pairs))
    frontier = az.measure(model, pairs, arms=("minmax", "sliced", "single"))
    arms = {
        arm: [str(r.size) for r in frontier.records if r.arm == arm] for arm in ("nested", "minmax", "sliced", "single")
    }
    assert all(sizes == ["bits=2", "bits=8"] for sizes in arms.values())
    (whole,) = (r for r in frontier.records if r.arm == "original")
    assert str(whole.size) == "bits=32"
    two, eight = (r for r in frontier.records if r.arm == "nested")
    assert two.bytes < eight.bytes < whole.bytes
    assert {r.arm for r in az.measure(model, pairs).records} == {"nested", "minmax", "original"}
    rivals = rival(model, "minmax", read(pairs))
    assert [rival.plan.scheme.parent_bits for rival in rivals] == [2, 8]
    grids = {int(part.sliced(2).max()) for part in rivals[0].layers().values()}
    assert grids == {3}  # all four levels between the smallest and the largest weight: its own scales
    with pytest.raises(AnysizeError, match=r"minmax \(usual\), sliced, single, original"):
        rival(model, "pca", read(pairs))
    with pytest.raises(AnysizeError, match="fitted on"):
        rival(model, "single", read(write_pairs(pairs.parent / "other.jsonl", seed=5)))


def test_scored_pairs_triplets_and_judgements_train_too(options, tmp_path):
    rows = [{"sentence1": a, "sentence2": b, "score": n % 5} for n, (a, b) in
            enumerate(zip(sentences(30), sentences(30, 5), strict=True))]  # fmt: skip
    (tmp_path / "scored.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert MatQuant(**options).fit(read(tmp_path / "scored.jsonl")).about["learnt_from"] == "scored pairs"
    rows = [{"anchor": a, "positive": a, "negative": b} for a, b in zip(sentences(30), sentences(30, 5), strict=True)]
    (tmp_path / "triplets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = read(tmp_path / "triplets.jsonl")
    assert MatQuant(**options).fit(data).about["learnt_from"] == "triplets"
    assert MatQuant(**{**options, "learn_from": "embeddings"}).fit(data).about["learnt_from"] == "texts"


def test_distillation_and_weights_as_the_paper_writes_them():
    asked = widths((8, 4, 2), 8, distill="8->4;2")
    assert (asked.weights, asked.pulls) == ({8: 0.1, 4: 0.1, 2: 1.0}, {4: 0.1, 2: 1.0})
    assert asked.offered == (2, 3, 4, 6, 8)
    assert widths((2,), 8).offered == (2,)  # single precision
    assert widths((8, 4, 2), 8, mode="extra").weights == {8: 1.0, 4: 1.0, 2: 1.0}
    assert widths((8,), 8, untrained=(2, 4)).offered == (2, 4, 8)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bits": (2, 4, 8)}, "4 after 2"),
        ({"bits": (8, 4), "parent_bits": 4}, "expected 1 to 4"),
        ({"weights": ("1", "1")}, "2 weights for 3 widths"),
        ({"weights": ("1", "much", "1")}, "not numbers"),
        ({"weights": ("0", "0", "0")}, "nothing to learn"),
        ({"distill": "8>2"}, "write it like '8->2'"),
        ({"distill": "6->2"}, "learns from bits=6"),
        ({"distill": "8->8"}, "from itself"),
        ({"sizes": ("layers=1:dims=8",)}, "name bits"),
        ({"sizes": ("bits=2",), "layers": (1,)}, "not both"),
        ({"epochs": 0}, "epochs must be above zero"),
        ({"untrained": (9,)}, "expected 1 to 8"),
    ],
)
def test_impossible_options(changed, words):
    with pytest.raises(AnysizeError, match=words):
        MatQuant(**changed)


def test_impossible_data(options, texts, pairs):
    with pytest.raises(DataError, match="no labels to learn from"):
        MatQuant(**{**options, "learn_from": "labels"}).fit(read(texts))
    with pytest.raises(AnysizeError, match="--model"):
        MatQuant().fit(read(pairs))
    with pytest.raises(AnysizeError, match=r"'mlp\.\*'; write ffn"):
        MatQuant(**{**options, "modules": ("mlp.*",)}).fit(read(pairs))
    with pytest.raises(SizeError, match="layers=3"):
        MatQuant(**{**options, "layers": (3,)}).fit(read(pairs))


def test_every_verb(anysize, options, pairs, tmp_path):
    out = tmp_path / "q"
    said = anysize("fit", pairs, "--method", "matquant", "--model", options["model"], "--bits", "8,4,2", "--modules",
                   "ffn,attention", "--distill", "8->2", "--batch-size", "8", "--out", out)  # fmt: skip
    assert said.status == 0, said
    assert anysize("measure", out, pairs, "--json").status == 0
    whole = az.load(out).cost().bytes
    said = anysize("choose", out, "--max-bytes", str(whole - 1), "--json")
    assert said.json["size"]["bits"] < 8
    assert anysize("cut", out, "--size", "bits=4", "--out", tmp_path / "cut").status == 0
    anysize("cut", out, "--size", "bits=5", "--out", tmp_path / "no").refused(
        "trained for bits 2, 4, 8 and offers bits 3, 6 untrained"
    )
    from sentence_transformers import SentenceTransformer

    cut = SentenceTransformer(str(tmp_path / "cut"), device="cpu")
    expected = az.load(out, bits=4).encode(sentences(3))
    np.testing.assert_allclose(cut.encode(sentences(3), normalize_embeddings=True), expected, atol=1e-5)
    assert Nesting(bits=(2, 3, 4, 6, 8)).values("bits") == az.load(out).nesting.values("bits")


def test_with_texts_alone_a_width_keeps_the_neighbours_of_the_float_model(options, texts):
    method = MatQuant(**{**options, "base": "minmax"})
    model = method.fit(read(texts))
    frontier = az.measure(model, texts)
    assert frontier.metric == "neighbours@10"
    kept = {record.size.bits: record.metrics["neighbours@10"] for record in frontier.arm("nested")}
    floats, listed = float_model(method).encode(sentences(96)), sentences(96)
    for bits, share in kept.items():
        expected = neighbour_overlap(floats, model.at(bits=bits).encode(listed))
        assert share == pytest.approx(expected, abs=0.02)
    assert kept[2] < kept[4] < kept[8] < 1.0001
    assert frontier.full("original").metrics["neighbours@10"] == 1.0
