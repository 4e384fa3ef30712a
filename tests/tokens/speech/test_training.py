"""Losses of all scales with their weights, gone back through one by one; adapters of scales; frozen parts stay."""

import pytest
import torch

from anysize.core.errors import AnysizeError, SizeError
from anysize.tokens.draws import Draw
from anysize.tokens.speech.clips import Clip
from anysize.tokens.speech.methods import MTSK
from anysize.tokens.speech.scaled.scales import Scale, nested
from anysize.tokens.speech.training import SpeechTraining, scale_weights, transcript_loss
from tests.tiny_speech import LORA, film, noise, tiny_lm, tiny_speech

CLIPS = [Clip(noise(0.7, 1), film(0.7, 1), "one two"), Clip(noise(0.4, 2), film(0.4, 2), "three")]
TEXTS = [str(one.text) for one in CLIPS]


def only_adapters(model):
    names = set(model.learnt())
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in names)
    return {name: weight for name, weight in model.named_parameters() if name in names}


def training(model, weights, draw="all", live=False):
    heard = model.read(CLIPS)
    return SpeechTraining(model, lambda rows: (model.hear(CLIPS) if live else heard, TEXTS), Draw(draw), weights)


@pytest.mark.parametrize("everything", [False, True], ids=["adapters", "all"])
def test_scale_by_scale_gives_the_gradients_of_the_sum(everything):
    model = tiny_speech(tasks=["avsr", "asr"], adapter={**LORA, "strategy": "mss"})
    weights = dict(model.named_parameters()) if everything else only_adapters(model)
    module = training(model, {"avsr": 1.0, "asr": 3.0}, live=everything)
    loss = module([0, 1])["loss"]
    loss.backward()
    found = {name: weight.grad.clone() for name, weight in weights.items() if weight.grad is not None}
    model.zero_grad()
    heard = model.hear(CLIPS)
    parts = [
        *((0.25 / 4, Scale(audio, video)) for audio in (4, 16) for video in (2, 5)),
        *((0.75 / 2, Scale(audio)) for audio in (4, 16)),
    ]
    expected = sum(weight * transcript_loss(model, heard, TEXTS, scale) for weight, scale in parts)
    expected.backward()
    torch.testing.assert_close(loss.detach(), expected.detach())
    for name, weight in weights.items():
        assert (weight.grad is None) == (name not in found), name
        if weight.grad is not None:
            torch.testing.assert_close(found[name], weight.grad, atol=1e-6, rtol=1e-4)
    assert {scale.name for scale in module.last} == {scale.name for _, scale in parts}
    if everything:
        assert found["encoders.audio.model.conv1.weight"].abs().sum() > 0


def test_one_pair_a_step_is_drawn_from_all():
    module = training(tiny_speech(), {"avsr": 1.0}, "random")
    seen = set()
    for _ in range(20):
        module([0, 1])
        assert len(module.last) == 1
        seen |= {scale.name for scale in module.last}
    assert len(seen) == 4


def test_weights_of_tasks_are_shares_of_the_loss():
    sizes = list(nested(audio=(4, 16), video=(2, 5)))
    found = scale_weights(sizes, {"asr": 1.0, "vsr": 1.5, "avsr": 1.0})
    assert sum(found.values()) == pytest.approx(1)
    assert found[Scale(4)] == pytest.approx(1 / 3.5 / 2)
    assert found[Scale(None, 5)] == pytest.approx(1.5 / 3.5 / 2)
    assert found[Scale(4, 5)] == pytest.approx(1 / 3.5 / 4)


def test_what_is_padded_counts_for_nothing():
    model = tiny_speech()
    heard = model.read(CLIPS)
    scale = Scale(4, 5)
    together = transcript_loss(model, heard, TEXTS, scale)
    alone = [transcript_loss(model, heard.take([row]), TEXTS[row : row + 1], scale) for row in (0, 1)]
    tokens = model.text_tokens(TEXTS)
    expected = sum(loss * count for loss, count in zip(alone, tokens, strict=True)) / sum(tokens)
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("strategy", "count"), [("ms", 1), ("ss", 4), ("mss", 5)])
def test_adapters_are_those_of_the_paper(strategy, count):
    model = tiny_speech(adapter={**LORA, "strategy": strategy})
    # at rank 2, on q (16 -> 16) and v (16 -> 8) of two layers
    each = 2 * (2 * (16 + 16) + 2 * (16 + 8))
    assert sum(weight.numel() for weight in model.adapters.weights().values()) == count * each
    assert {weight.dtype for weight in model.adapters.weights().values()} == {torch.float32}
    assert model.adapters.active(Scale(4, 2)) == (2 if strategy == "mss" else 1) * each
    layer = model.lm.model.layers[0].self_attn.q_proj
    x, batch = torch.randn(3, 16), None
    with torch.no_grad(), model.at_scale(Scale(16, 5), batch):
        added = layer(x) - layer.base_layer(x)
        names = {"ms": ["shared"], "ss": ["audio16-video5"], "mss": ["shared", "audio16-video5"]}[strategy]
        plain = sum(4.0 / 2 * x @ layer.lora_A[name].weight.T @ layer.lora_B[name].weight.T for name in names)
    torch.testing.assert_close(added, plain, atol=1e-5, rtol=1e-4)


def test_untrained_adapters_change_nothing_and_unknown_layers_are_refused():
    torch.manual_seed(0)
    plain = tiny_lm()
    ids = torch.arange(6)[None]
    with torch.no_grad():
        before = plain(ids).logits
        model = tiny_speech()
        for name, weight in model.adapters.weights().items():
            if "lora_B" in name:
                weight.zero_()
        model.lm.load_state_dict({name.replace("_proj.weight", "_proj.base_layer.weight") if "q_proj" in name or
                                  "v_proj" in name else name: weight for name, weight in plain.state_dict().items()},
                                 strict=False)  # fmt: skip
        with model.at_scale(Scale(4, 5)):
            torch.testing.assert_close(model.lm(ids).logits, before)
    with pytest.raises(SizeError, match="no adapter was trained for audio8-video5; there are audio16-video5"):
        model.adapters.names(Scale(8, 5))
    with pytest.raises(AnysizeError, match="no layers called c_attn; name its own with --targets"):
        tiny_speech(adapter={**LORA, "targets": ["c_attn"]})


def test_options_that_cannot_be_are_refused_before_anything_is_read():
    for options, words in (
        ({"audio_rates": (16, 4)}, "increasing"), ({"audio_rates": (0, 4)}, "at least 1"),
        ({"audio_rates": (4,), "tasks": ("avsr",)}, "avsr needs rates of audio and video"),
        ({"audio_rates": (4,), "tasks": ("lips",)}, "the task lips is none; expected some of asr, vsr, avsr"),
        ({"audio_rates": (4,), "tasks": ("asr",), "task_weights": (1.0, 2.0)}, "one for each of --tasks"),
        ({"mode": "stack", "share": True}, "cannot share a projector"), ({"rank": 0}, "rank must be above zero"),
    ):  # fmt: skip
        with pytest.raises(AnysizeError, match=words):
            MTSK(**options)
    assert list(map(str, MTSK(audio_rates=(4, 16), video_rates=(2, 5)).nesting())) == [
        "audio=1/16,video=1/5", "audio=1/16,video=1/2", "audio=1/4,video=1/5", "audio=1/4,video=1/2",
    ]  # fmt: skip
    twin = MTSK(audio_rates=(4, 16), video_rates=(2, 5)).single(nested(audio=(16,), video=(2,)).full)
    assert (twin.audio_rates, twin.video_rates) == ((16,), (2,))


def test_a_clip_that_lacks_what_a_scale_is_given_does_not_count_there():
    model = tiny_speech(tasks=["avsr", "asr"])
    lacking = Clip(noise(0.5, 3), None, "four")
    heard = model.read([lacking, *CLIPS])
    alone = model.read(CLIPS)
    mixed = transcript_loss(model, heard, ["four", *TEXTS], Scale(4, 2))
    torch.testing.assert_close(mixed, transcript_loss(model, alone, TEXTS, Scale(4, 2)))
    assert transcript_loss(model, heard, ["four", *TEXTS], Scale(4)) != transcript_loss(model, alone, TEXTS, Scale(4))
    assert transcript_loss(model, model.read([lacking]), ["four"], Scale(4, 2)) == 0
