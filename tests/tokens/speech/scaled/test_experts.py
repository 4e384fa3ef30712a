"""Experts beside a frozen language model: one dense bottleneck is all of them, routing, balance, generation."""

import pytest
import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError, SizeError
from anysize.testing import check_nested_model
from anysize.tokens.adapters.experts import MoMELayer, Pass
from anysize.tokens.speech.clips import Clip
from anysize.tokens.speech.methods import MoME
from anysize.tokens.speech.scaled.scales import Scale
from anysize.tokens.speech.training import transcript_loss
from tests.tiny_speech import WORDS, film, noise, tiny_speech

SPEC = {
    "kind": "mome", "experts": 4, "shared_experts": 1, "top_k": 2, "bottleneck": 3, "placement": "attn",
    "router": "shared", "normalize": False, "balance": 0.01,
}  # fmt: skip
CLIPS = [Clip(noise(0.7, 1), film(0.7, 1), "one two"), Clip(noise(0.4, 2), film(0.4, 2), "three")]
SCALE = Scale(4, 5)


def made(**spec):
    return tiny_speech(adapter={**SPEC, **spec})


@pytest.mark.parametrize("placement", ["attn", "mlp", "layer"])
@pytest.mark.parametrize("router", ["shared", "per-scale"])
def test_it_keeps_every_promise_of_a_nested_model(placement, router):
    model = made(placement=placement, router=router)
    check_nested_model(model, CLIPS, shape=lambda size: (2, len(WORDS)))


@pytest.mark.parametrize("normalize", [False, True], ids=["as they are", "normalised"])
@pytest.mark.parametrize("placement", ["attn", "layer"])
def test_the_dense_bottleneck_is_every_expert_by_itself(normalize, placement):
    torch.manual_seed(0)
    layer = MoMELayer(16, ["shared"], {**SPEC, "normalize": normalize, "placement": placement})
    torch.nn.init.normal_(layer.up)
    h = torch.randn(2, 5, 16)
    found = layer(h, Pass(SCALE, None), balance=False, record=False)
    for row, place in ((0, 0), (1, 4), (0, 3)):
        x = h[row, place]
        if placement == "layer":
            x = x / (x.pow(2).mean() + torch.finfo(torch.float32).eps).sqrt()
        p = (layer.routers["shared"] @ x).softmax(0)
        best = p.topk(2).indices.tolist()
        whole = p[best].sum() if normalize else 1.0
        expected = torch.zeros(16)
        for n in range(5):
            gate = 1.0 if n == 4 else p[n] / whole if n in best else 0.0
            part = slice(3 * n, 3 * n + 3)
            expected = expected + gate * (layer.up[:, part] @ functional.gelu(layer.down[part] @ x))
        torch.testing.assert_close(found[row, place], expected, atol=1e-5, rtol=1e-4)


def test_balance_counts_what_is_there_and_is_one_where_experts_are_used_alike():
    torch.manual_seed(0)
    layer = MoMELayer(16, ["shared"], SPEC)
    kinds, h = torch.tensor([[0, 1, 1, 3], [1, 2, 2, 3]]), torch.randn(2, 4, 16)
    now = Pass(SCALE, kinds)
    layer(h, now, balance=True, record=True)
    there = kinds > 0
    p = (h[there] @ layer.routers["shared"].T).softmax(-1)
    slots = torch.bincount(now.chosen[0][there].flatten(), minlength=4) / (2 * int(there.sum()))
    torch.testing.assert_close(now.balance[0], 4 * (slots * p.mean(0)).sum())
    with torch.no_grad():
        layer.routers["shared"].zero_()
    alike = Pass(SCALE, kinds)
    layer(h, alike, balance=True, record=False)
    torch.testing.assert_close(alike.balance[0], torch.tensor(1.0))


def test_the_balance_of_each_scale_is_part_of_its_loss():
    model = made(balance=0.5).train()
    heard, texts = model.read(CLIPS), [str(one.text) for one in CLIPS]
    whole = transcript_loss(model, heard, texts, SCALE)
    kept = torch.stack(model.adapters.ran.balance).mean()
    model.eval()
    plain = transcript_loss(model, heard, texts, SCALE)
    torch.testing.assert_close(whole - plain, 0.5 * kept, atol=1e-5, rtol=1e-4)
    whole.backward()
    for layer in model.adapters.layers:
        assert layer.routers["shared"].grad.abs().sum() > 0


@pytest.mark.parametrize("placement", ["attn", "mlp", "layer"])
def test_going_on_with_the_cache_gives_what_the_whole_sequence_gives(placement):
    model = made(placement=placement)
    heard = model.read(CLIPS)
    rows = model.rows(heard, SCALE)
    batch = model.writer.batch(rows, model.marks)
    with torch.no_grad(), model.at_scale(SCALE, batch):
        done = model.lm.generate(
            inputs_embeds=batch.embeds, attention_mask=batch.mask, max_new_tokens=4, do_sample=False, pad_token_id=0,
            eos_token_id=None, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        said = done.sequences
    whole = [row._replace(text=ids.tolist()) for row, ids in zip(rows, said, strict=True)]
    full = model.logits(model.writer.batch(whole, model.marks), SCALE, 5)
    for step, logits in enumerate(done.logits):
        torch.testing.assert_close(full[:, step], logits, atol=1e-4, rtol=1e-4)


def test_untrained_experts_change_nothing_and_other_scales_have_no_router():
    model = made(router="per-scale")
    ids = torch.arange(6)[None]
    with torch.no_grad():
        plain = model.lm(ids).logits
        for layer in model.adapters.layers:
            layer.up.zero_()
        with model.at_scale(SCALE):
            torch.testing.assert_close(model.lm(ids).logits, plain)
        there = "no router was trained for audio8; there are audio16-video2, audio16-video5, audio4"
        with pytest.raises(SizeError, match=there), model.at_scale(Scale(8)):
            model.lm(ids)


def test_weights_are_counted_as_held_and_as_active():
    model = made()
    held = sum(weight.numel() for weight in model.adapters.parameters())
    assert held == 2 * (5 * 2 * 3 * 16 + 4 * 16)
    assert model.adapters.active(SCALE) == 2 * (3 * 2 * 3 * 16 + 4 * 16)
    assert not list(made(experts=0).adapters.layers[0].routers)
    for options, words in (
        ({"experts": 2, "top_k": 3}, "top-k chooses among 2 experts"), ({"bottleneck": 0}, "bottleneck must be above"),
        ({"experts": 0, "shared_experts": 0}, "give experts or shared-experts"), ({"balance": -1.0}, "at least 0"),
    ):  # fmt: skip
        with pytest.raises(AnysizeError, match=words):
            MoME(audio_rates=(4, 16), **options)
