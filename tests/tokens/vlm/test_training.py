"""What is learnt, at which sizes, and that a resumed run draws what an undisturbed one draws."""

import copy
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from anysize.core.sizes.nesting import Nesting
from anysize.core.training.trainer import TrainingPlan
from anysize.tokens.draws import Draw
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.training import AnswerTraining, learn
from tests.tiny_vlm import drawn
from tests.tokens.vlm.test_model import pooled, queried

LEARNT = [
    Asked(shown, f"what is {word}", f"{word} one" if word == "red" else word)
    for shown, word in zip(drawn(6, seed=3), ("red", "blue", "two") * 2, strict=True)
]


def batch(model):
    return {
        "pixels": model.vlm.pixels([one.picture for one in LEARNT]),
        "prompts": [model.vlm.prompt(one.question, answer=one.answer) for one in LEARNT],
    }


def plain(model, tokens):
    """One question at a time, over the whole sequence with the library's own labels."""
    total, count = torch.zeros(()), 0
    for one in LEARNT:
        prompt = model.vlm.prompt(one.question, answer=one.answer)
        ids = torch.tensor([[*prompt.ids([tokens], 4), *prompt.answer]])
        everything = model.vlm.encode(model.vlm.pixels([one.picture]))
        kept = model.budget.keep(everything, tokens, model.vlm.shape)
        embedded = model.net.get_input_embeddings()(ids).clone()
        embedded[ids == 4] = kept[0]
        logits = model.net(inputs_embeds=embedded).logits[0]
        size = len(prompt.answer)
        total = total + functional.cross_entropy(logits[-size - 1 : -1], ids[0, -size:], reduction="sum")
        count += size
    return total / count


@pytest.mark.parametrize("make", [pooled, queried], ids=["pool", "queries"])
def test_the_loss_is_the_mean_over_sizes_of_each_ones_own(make):
    model = make()
    module = AnswerTraining(model, Draw("all"))
    loss = module(**batch(model))["loss"]
    each = [plain(model, size.tokens) for size in model.nesting]
    torch.testing.assert_close(loss, torch.stack(each).mean(), atol=1e-5, rtol=1e-5)
    assert list(module.last.values()) == pytest.approx([float(one.detach()) for one in each], abs=1e-5)
    weights = [model.net.model.vision_tower.embeddings.class_embedding, *model.vlm.projector.parameters()]
    mine = torch.autograd.grad(loss, weights)
    other = torch.autograd.grad(torch.stack(each).mean(), weights)
    for one, wanted in zip(mine, other, strict=True):
        torch.testing.assert_close(one, wanted, atol=1e-5, rtol=1e-4)


def test_draws():
    nesting = Nesting(tokens=(1, 4, 64))
    assert Draw("all").pick(nesting, 3) == tuple(nesting)
    for kind, below, above in (("uniform", 0.1, 0.2), ("log-uniform", 0.45, 0.6)):
        found = [Draw(kind).pick(nesting, step, 7)[0].tokens for step in range(2000)]
        assert (min(found), max(found)) == (1, 64)
        assert below < sum(one <= 8 for one in found) / 2000 < above
        assert found[5] == Draw(kind).pick(nesting, 5, 7)[0].tokens
    assert {Draw("random").pick(nesting, step)[0].tokens for step in range(50)} == {1, 4, 64}


def changed(model, before):
    return {
        name.removeprefix("net.").removeprefix("model.").partition(".")[0]
        for name, value in model.saved_state().items()
        if not torch.equal(value, before[name])
    }


@pytest.mark.parametrize(
    ("parts", "lora", "what"),
    [
        ("projector", 0, {"multi_modal_projector"}),
        ("language", 0, {"multi_modal_projector", "language_model", "lm_head"}),
        ("language", 2, {"multi_modal_projector", "language_model"}),
        ("all", 0, {"multi_modal_projector", "language_model", "lm_head", "vision_tower"}),
    ],
    ids=["projector", "language", "lora", "all"],
)
def test_only_the_parts_that_are_named_learn(parts, lora, what, tmp_path):
    model = queried()
    before = copy.deepcopy(model.saved_state())
    plan = TrainingPlan(epochs=4, batch_size=3, learning_rate=1e-2, warmup_ratio=0.0)
    losses = learn(model, LEARNT, plan, tmp_path, draw=Draw("uniform"), parts=parts, lora=lora)
    assert losses[-1]["loss"] < losses[0]["loss"]
    assert before.keys() == model.saved_state().keys()
    assert changed(model, before) == what
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize(("parts", "lora"), [("all", 0), ("projector", 0), ("language", 2)], ids=str)
def test_a_resumed_run_is_the_undisturbed_one(parts, lora, tmp_path):
    def run(place, epochs, resume):
        model = queried()
        plan = TrainingPlan(epochs=epochs, batch_size=3, learning_rate=1e-2, checkpoints=4)
        learn(model, LEARNT, plan, place, draw=Draw("log-uniform"), parts=parts, lora=lora, resume=resume)
        return model.saved_state()

    whole = run(tmp_path / "whole", 4, False)
    run(tmp_path / "cut", 4, False)
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "checkpoint-8")
    for name, value in run(tmp_path / "cut", 4, True).items():
        assert torch.equal(value, whole[name]), name
    kept = load_file(next((tmp_path / "cut" / "checkpoints").glob("*/model.safetensors")))
    assert any("vision_tower" in name for name in kept) == (parts == "all")
    assert any("lora" in name for name in kept) == (lora > 0)
