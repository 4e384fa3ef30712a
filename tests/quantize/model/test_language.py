import json

import pytest
import torch
from torch.nn import functional

import anysize as az
from anysize.backbones.texts.token_windows import texts_of, windows
from anysize.core.data.read import read
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.losses.tokens import divergence, next_token_loss
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.quantize import CausalLM, MatQuant, QuantizedLM, Scheme
from anysize.quantize.model.making import finished, prepared
from anysize.quantize.model.mixing import average_bits, blocks, by_pattern, by_sensitivity, sensitivity
from anysize.quantize.training.fit import float_model
from anysize.quantize.training.objective import LanguageTraining
from anysize.testing import check_nested_model
from tests.conftest import WORDS, sentences

TEXTS = sentences(3)
BITS = Nesting(bits=(2, 3, 4, 6, 8))


@pytest.fixture
def lm(lm_path):
    return lambda: CausalLM.from_pretrained(lm_path)


@pytest.fixture
def deep_lm():
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=6, num_attention_heads=2)
    )


@pytest.fixture
def made(lm):
    def make(nesting=BITS, **options):
        return finished(prepared(lm(), nesting, **options))

    return make


@pytest.fixture
def texts(tmp_path):
    # Every text walks through the words in one order, so that there is something to predict.
    rows = [" ".join(WORDS[start : start + 8]) for start in range(0, 192, 2)]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": row}) for row in rows))
    return tmp_path / "texts.jsonl"


@pytest.fixture
def options(lm_path):
    return {"model": str(lm_path), "batch_size": 4, "learning_rate": 3e-3, "modules": ("linear",), "max_length": 16}


@pytest.mark.parametrize(
    ("mode", "layout", "modules"),
    [("round_clamp", "planes", "ffn"), ("extra", "uint8", "linear"), ("floor_mid", "planes", "linear,embedding")],
)
def test_keeps_every_promise_of_a_nested_model(made, mode, layout, modules):
    model = made(scheme=Scheme(mode=mode, group_size=16), layout=layout, modules=modules)
    check_nested_model(model, TEXTS, options={"max_new_tokens": 2})
    check_nested_model(model, torch.arange(12).view(2, 6), items=TEXTS, options={"max_new_tokens": 2})


def test_the_float_model_keeps_them_too_also_with_a_tied_head(lm, made, lm_path, tmp_path):
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(lm_path)
    check_nested_model(lm(), TEXTS, options={"max_new_tokens": 2})
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        torch.testing.assert_close(lm()(ids), plain(ids).logits)
    plain.config.tie_word_embeddings = True
    plain.tie_weights()
    tied = CausalLM.from_pretrained(plain)
    tied.save(tmp_path / "tied")
    again = CausalLM.load(tmp_path / "tied")
    assert again.lm.lm_head.weight is again.lm.model.embed_tokens.weight
    torch.testing.assert_close(again(ids), tied(ids))
    with pytest.raises(AnysizeError, match="shares its weight"):
        prepared(CausalLM.from_pretrained(plain), BITS, modules="embedding")
    tied.tokenizer = again.tokenizer = lm().tokenizer
    check_nested_model(finished(prepared(tied, BITS)), ids, items=TEXTS[:2], options={"max_new_tokens": 2})


def test_loading_narrow_takes_little_and_the_loss_is_its_definition(made, lm, tmp_path):
    model = made(modules="linear")
    model.save(tmp_path / "m")
    two = QuantizedLM.from_pretrained(tmp_path / "m", bits=2)
    mixed = QuantizedLM.from_pretrained(tmp_path / "m", bits={"layers.0": 2, "layers.1": 4})
    part = torch.randint(3, 200, (5, 9))
    with torch.no_grad():
        logits = two(part[:, :-1])
        torch.testing.assert_close(logits, model.at(bits=2)(part[:, :-1]))
    expected = -torch.log_softmax(logits, -1).gather(2, part[:, 1:, None]).mean()
    assert two.loss(part, batch_size=2) == pytest.approx(float(expected), abs=1e-5)
    assert mixed.loss(part) == pytest.approx(model.at(bits={"layers.0": 2, "layers.1": 4}).loss(part), abs=1e-6)
    two.keep_floats(False)
    assert two.loss(part, batch_size=2) == pytest.approx(float(expected), abs=1e-5)
    assert all(layer._kept is None for layer in two.layers().values())
    assert mixed.loss(part) != pytest.approx(two.loss(part), abs=1e-4)
    with torch.no_grad():
        floats = float(next_token_loss(lm()(part[:, :-1]), part))
    assert model.loss(part) == pytest.approx(floats, abs=0.02)


def test_divergence_is_that_of_torch_distributions():
    student, teacher = torch.randn(2, 3, 7, requires_grad=True), torch.randn(2, 3, 7, requires_grad=True)
    found = divergence(student, teacher)
    one, other = (torch.distributions.Categorical(logits=logits) for logits in (teacher, student))
    torch.testing.assert_close(found, torch.distributions.kl_divergence(one, other).mean())
    found.backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_the_nested_loss_is_its_definition(options):
    method = MatQuant(**{**options, "bits": (8, 4), "distill": "8->2", "weights": ("0.25", "0.5")})
    asked = method.widths()
    model = prepared(float_model(method), method.nesting(), bits=asked.trained, modules="linear")
    part = torch.randint(3, 200, (3, 9))
    loss = LanguageTraining(model, asked)(part)["loss"]
    logits = {bits: model.at(bits=bits)(part[:, :-1]) for bits in (2, 4, 8)}
    expected = sum(
        weight * functional.cross_entropy(logits[bits].flatten(0, 1), part[:, 1:].flatten())
        for bits, weight in ((8, 0.25), (4, 0.5))
    )
    two, eight = (torch.log_softmax(logits[bits], -1) for bits in (2, 8))
    expected = expected + (eight.detach().exp() * (eight.detach() - two)).sum(-1).mean()
    torch.testing.assert_close(loss, expected)
    weights = [part.weight for part in model.inner.modules() if hasattr(part, "scheme")]
    for mine, theirs in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("base", "rate"), [("qat", 1e-2), ("omniquant", 2e-2)])
def test_training_helps_two_bits(options, texts, base, rate):
    given = {**options, "weights": ("1",) * 3, "epochs": 5}
    method = MatQuant(**{**given, "base": base, "learning_rate": rate})
    model = method.fit(read(texts))
    untrained = MatQuant(**{**given, "base": "minmax"}).fit(read(texts))
    part = windows(texts_of(read(texts), held_out=base == "qat"), model.tokenizer, 16, "texts")
    if base == "qat":
        assert model.at(bits=2).loss(part) < untrained.at(bits=2).loss(part) - 0.3
    else:
        floats = float_model(method)
        with torch.no_grad():
            target = floats(part[:, :-1])
            apart = [float((one.at(bits=2)(part[:, :-1]) - target).square().mean()) for one in (model, untrained)]
        assert apart[0] < 0.95 * apart[1], apart
    assert model.about["learnt_from"] == "windows of text"
    assert model.about["losses"]


def test_every_verb(anysize, options, texts, tmp_path):
    from transformers import AutoModelForCausalLM

    out = tmp_path / "q"
    said = anysize("fit", texts, "--method", "matquant", "--model", options["model"], "--bits", "8,4,2",
                   "--max-length", "16", "--batch-size", "4", "--out", out)  # fmt: skip
    assert said.status == 0, said
    said = anysize("measure", out, texts, "--arms", "single,sliced,minmax", "--json")
    records = {(r["arm"], r["size"]["bits"]): r for r in said.json["records"]}
    assert {arm for arm, _ in records} == {"nested", "single", "sliced", "minmax", "original"}
    assert said.json["metric"] == "log_likelihood"
    assert records["nested", 2]["bytes"] < records["nested", 8]["bytes"] < records["original", 32]["bytes"]
    part = windows(texts_of(read(texts), held_out=True), az.load(out).tokenizer, 16, "it")
    assert records["nested", 4]["metrics"]["log_likelihood"] == pytest.approx(-az.load(out, bits=4).loss(part))
    assert "6 layers in 8 bits (round_clamp, symmetric, a scale per output channel)" in anysize("info", out).out
    assert anysize("choose", out, "--max-bytes", "8MB").status == 0
    told = anysize("info", out, "--json").json["sizes"]
    assert [size["size"] for size in told] == [f"bits={bits}" for bits in (2, 3, 4, 6, 8)]
    loads = [size["bytes_to_load"] for size in told]
    assert loads == [az.load(out).at(bits=bits).cost().bytes for bits in (2, 3, 4, 6, 8)]
    assert loads[0] < loads[2] < loads[4]
    assert anysize("cut", out, "--size", "bits=4", "--out", tmp_path / "cut").status == 0
    cut = AutoModelForCausalLM.from_pretrained(tmp_path / "cut")
    with torch.no_grad():
        torch.testing.assert_close(cut(part[:, :-1]).logits, az.load(out, bits=4)(part[:, :-1]))
    said = anysize("fit", texts, "--method", "matquant", "--model", options["model"], "--layers", "1", "--out", "no")
    said.refused("with its 2 layers", "leave out layers and dims")


def test_widths_per_block_by_pattern_and_by_measured_sensitivity(made):
    model = made(modules="linear")
    part = torch.randint(3, 200, (4, 9))
    assert list(blocks(model)) == ["layers.0", "layers.1"]
    costs = sensitivity(model, lambda view: -view.loss(part))
    for name, cost in costs.items():
        assert cost == pytest.approx(model.mix({name: 2}).loss(part) - model.loss(part), abs=1e-6)
    assert set(by_sensitivity(model, costs, 5.0).values()) == {2, 8}
    for pattern in ("pyramid", "reverse", "increasing", "decreasing"):
        view = model.mix(by_pattern(model, pattern, 5.0))
        assert view.loss(part) > 0
    with pytest.raises(AnysizeError, match="fuse would have widths 2, 8"):
        model.mix({"layers.0.mlp.gate_proj": 2})


def test_patterns_have_all_levels_in_order_where_the_average_allows(deep_lm):
    model = finished(prepared(CausalLM.from_pretrained(deep_lm), BITS))

    def shape(pattern, average, levels=(2, 4, 8)):
        widths = by_pattern(model, pattern, average, levels)
        assert average_bits(model.mix(widths)) <= average + 1e-9
        return [widths[f"layers.{place}"] for place in range(6)]

    assert shape("increasing", 4.0) == [2, 2, 4, 4, 4, 8]
    assert shape("decreasing", 4.0) == [8, 4, 4, 4, 2, 2]
    pyramid, reverse = shape("pyramid", 14 / 3), shape("reverse", 14 / 3)
    assert pyramid == [2, 4, 8, 8, 4, 2]
    assert sorted(reverse[:2] + reverse[-2:]) == [4, 4, 8, 8]
    assert reverse[2:4] == [2, 2]
    assert shape("pyramid", 3.0, (2, 4)) == [2, 4, 4, 4, 2, 2]
    assert shape("pyramid", 4.0, (4, 8)) == [4] * 6


def test_refusals(options, texts, lm, tmp_path):
    with pytest.raises(SizeError, match="runs whole, with its 2 layers"):
        MatQuant(**{**options, "layers": (1,)}).fit(read(texts))
    with pytest.raises(DataError, match="leave out learn-from"):
        MatQuant(**{**options, "learn_from": "embeddings"}).fit(read(texts))
    with pytest.raises(AnysizeError, match="without a tokenizer"):
        CausalLM.from_pretrained(lm().lm)(TEXTS)
    with pytest.raises(AnysizeError, match="cannot load the language model"):
        CausalLM.from_pretrained(tmp_path)
    with pytest.raises(DataError, match="holds 1 tokens"):
        windows([""], lm().tokenizer, 8, "it")
    lm().save(tmp_path / "ours")
    assert float_model(MatQuant(**{**options, "model": str(tmp_path / "ours")})).max_length == 16
    assert az.measure(az.load(tmp_path / "ours"), texts).metric == "log_likelihood"
    whole = windows(["one", "two"], lm().tokenizer, 100, "it")
    assert whole.shape == (1, 4)  # two words, each with its end
    assert Size(layers=2) in lm().nesting
