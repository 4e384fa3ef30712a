"""The same training again: with the same seed, by two processes, after it was killed, in bfloat16."""

import pytest
import torch

from anysize.core.training.trainer import TrainingPlan
from anysize.core.verbs.fit import fit
from anysize.core.verbs.load import load
from anysize.tokens import M3, MQT
from anysize.tokens.draws import Draw
from anysize.tokens.vlm.training import learn
from tests.core.verbs.test_fit import at_step
from tests.processes import die, killed, together
from tests.tiny_vlm import tiny_llava
from tests.tokens.vlm.test_fit import shown
from tests.tokens.vlm.test_model import pooled, queried
from tests.tokens.vlm.test_training import LEARNT

DATA = shown(20, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vlm") / "vlm"
    net, processor = tiny_llava()
    net.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def same(one, other):
    first, second = one.saved_state(), other.saved_state()
    assert first.keys() == second.keys()
    return [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def methods(model):
    common = {"model": model, "tokens": (1, 4, 16), "batch_size": 6, "learning_rate": 1e-2}
    return {
        "queries": MQT(**{**common, "tokens": (1, 2, 8)}, heads=4, epochs=2.0, align_epochs=2.0),
        "lora": M3(**common, epochs=4.0, train="language", lora=2, bf16=True),
    }


@pytest.mark.parametrize("name", ["queries", "lora"])
def test_a_run_that_was_killed_ends_as_an_undisturbed_one(model, name, tmp_path):
    method = methods(model)[name]
    torch.manual_seed(1)  # whatever came before
    whole = fit(DATA, method=method, out=tmp_path / "whole")

    def work():
        at_step(3, die)
        fit(DATA, method=method, out=tmp_path / "cut")

    torch.manual_seed(2)
    killed(work)
    assert (tmp_path / "cut.partial").is_dir()
    assert same(fit(DATA, method=method, out=tmp_path / "cut", resume=True), whole)
    assert same(load(tmp_path / "cut"), whole)
    assert load(tmp_path / "cut").chooser == whole.chooser


@pytest.mark.parametrize(("draw", "lora"), [("all", 0), ("log-uniform", 0), ("log-uniform", 2)], ids=str)
def test_two_processes_learn_what_one_does(draw, lora, tmp_path):
    """Of which each takes half of the rows, with answers of other lengths."""

    def made(batch):
        model = pooled() if draw == "all" else queried()
        plan = TrainingPlan(epochs=3, batch_size=batch, learning_rate=1e-2, warmup_ratio=0.0)
        parts = "language" if lora else "all"
        learn(model, LEARNT, plan, tmp_path / str(batch), draw=Draw(draw), parts=parts, lora=lora)
        return model

    def work():
        torch.save(made(3).saved_state(), tmp_path / f"{torch.distributed.get_rank()}.pt")
        torch.distributed.barrier()

    before, alone = pooled() if draw == "all" else queried(), made(6)
    together(2, work)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    with torch.no_grad():  # what they say, since Adam moves also weights that nothing depends on (a bias of keys)
        plain, expected = before.outputs(LEARNT), alone.outputs(LEARNT)
        before.load_state_dict(first, strict=False)
        for size, found in before.outputs(LEARNT).items():
            torch.testing.assert_close(found, expected[size], atol=2e-3, rtol=1e-3)
            assert (found - plain[size]).abs().max() > 0.5


def test_in_bfloat16_it_learns_much_the_same_and_keeps_its_precision(tmp_path):
    losses = {}
    for bf16 in (False, True):
        model = pooled()
        plan = TrainingPlan(epochs=6, batch_size=3, learning_rate=1e-2, bf16=bf16)
        losses[bf16] = learn(model, LEARNT, plan, tmp_path / str(bf16), draw=Draw("all"))
        assert {value.dtype for value in model.saved_state().values()} == {torch.float32}
    assert losses[True] != losses[False]
    for one, other in zip(losses[True], losses[False], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=0.15)
