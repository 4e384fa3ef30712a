from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from anysize.backbones.blocks import find_stack
from anysize.editing.requests.prompting import Prompting
from anysize.editing.shifts.optimise import Goal, NotFiniteError, Windowed, affinity, fit_shifts
from anysize.editing.shifts.suffix import Suffix, block_at, injecting
from tests.editing.conftest import FIRST, OTHER, tiny

LAYER = 1


def plain_run(lm, ids, shifts):
    """Logits of the whole model with (row, place) -> shift added by a hook of our own."""

    def add(module, inputs, output):
        states = output[0] if isinstance(output, tuple) else output
        more = torch.stack([shifts.get((0, place), torch.zeros(states.shape[2])) for place in range(states.shape[1])])
        moved = states + more[None]
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = find_stack(lm).blocks(lm)[LAYER].register_forward_hook(add)
    try:
        return lm(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    finally:
        handle.remove()


def plain_loop(lm, encoded, bounds, weights_of, goal):
    """Stage 1 as the papers run it: the whole model at every step."""
    states, shifts = [], {}

    def keep(module, inputs, output):
        states.append((output[0] if isinstance(output, tuple) else output)[0].detach())

    handle = find_stack(lm).blocks(lm)[LAYER].register_forward_hook(keep)
    lm(input_ids=torch.tensor([encoded.ids[:-1]]))
    handle.remove()
    labels = torch.tensor(encoded.target)
    for i in range(len(bounds) - 1):
        place = encoded.start - 1 + bounds[i]
        delta = torch.zeros(32, requires_grad=True)
        adam = torch.optim.Adam([delta], lr=goal.rate)
        for _ in range(goal.steps - 1):
            logits = plain_run(lm, encoded.ids[:-1], {**shifts, (0, place): delta})[encoded.start - 1 :]
            nll = functional.cross_entropy(logits, labels, reduction="none")
            weights, total = weights_of(i)
            norm = states[0][place].norm()
            loss = (weights * nll).sum() / total + goal.decay * delta.norm() / norm**2
            adam.zero_grad()
            loss.backward()
            adam.step()
            with torch.no_grad():
                if delta.norm() > goal.clamp * norm:
                    delta *= goal.clamp * norm / delta.norm()
        shifts[(0, place)] = delta.detach()
    return torch.stack(list(shifts.values()))


def test_the_suffix_gives_the_whole_models_logits(lm, tokenizer):
    encoded = Prompting(tokenizer).encode(FIRST)
    suffix = Suffix(lm, LAYER)
    states, logits = suffix.states(encoded.ids)
    torch.testing.assert_close(logits, lm(input_ids=torch.tensor([encoded.ids])).logits[0], atol=1e-5, rtol=1e-5)
    early, late, cut = encoded.start - 1, encoded.start + 9, encoded.start + 5
    shifts = {early: torch.randn(32), late: torch.randn(32)}
    wanted = plain_run(lm, encoded.ids, {(0, place): one for place, one in shifts.items()})
    moved = states.clone()
    moved[0, late] += shifts[late]
    kept = suffix.prefix(encoded.ids[:cut], {early: shifts[early]})
    for _ in range(2):  # what is kept is not changed by running on
        found = suffix.logits(encoded.ids[cut:], moved[:, cut:], kept)
        torch.testing.assert_close(found, wanted[cut:], atol=1e-4, rtol=1e-4)
    moved[0, early] += shifts[early]
    torch.testing.assert_close(suffix.logits(encoded.ids, moved), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_shift_lands_on_its_token_in_a_batch(lm, tokenizer, side):
    rows = [Prompting(tokenizer).encode(one).ids for one in (FIRST, OTHER)]
    longest = max(map(len, rows))
    offset = [longest - len(row) if side == "left" else 0 for row in rows]
    ids, mask = torch.ones(2, longest, dtype=torch.long), torch.zeros(2, longest, dtype=torch.long)
    for row, one in enumerate(rows):
        ids[row, offset[row] : offset[row] + len(one)] = torch.tensor(one)
        mask[row, offset[row] : offset[row] + len(one)] = 1
    shifts = {0: (7, torch.randn(32)), 1: (4, torch.randn(32))}
    placed = {(row, offset[row] + place): one for row, (place, one) in shifts.items()}
    given = {"input_ids": ids, "attention_mask": mask}
    if lm.config.model_type != "bloom":
        given["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad(), injecting(block_at(lm, LAYER), placed):
        together = lm(**given, use_cache=False).logits
    for row, ids in enumerate(rows):
        alone = plain_run(lm, ids, {(0, shifts[row][0]): shifts[row][1]})
        found = together[row, offset[row] : offset[row] + len(ids)]
        torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("coefficients", ["uniform", "window", "last"])
def test_shifts_are_those_of_the_plain_loop(lm, tokenizer, coefficients):
    encoded = Prompting(tokenizer).encode(FIRST)
    length = len(encoded.target)
    bounds = [0, 10, 20, length]
    goal = Goal(coefficients=coefficients, steps=5, stop=0.0, clamp=0.4)

    def weights_of(i):
        each = torch.zeros(length)
        for j in range(i, 3):
            share = {"uniform": (3 - j) / (3 - i), "window": float(i == j), "last": 1.0}[coefficients]
            each[bounds[j] : bounds[j + 1]] = share
        return each, (bounds[i + 1] - bounds[i] if coefficients == "window" else length - bounds[i])

    found = fit_shifts(Suffix(lm, LAYER), encoded, bounds, goal)
    wanted = plain_loop(lm, encoded, bounds, weights_of, goal)
    torch.testing.assert_close(found.shifts, wanted, atol=2e-3, rtol=1e-2)
    assert (found.shifts.norm(dim=1) <= 0.4 * found.states.norm(dim=1) + 1e-4).all()
    for j in range(4):
        moved = {(0, place): one for place, one in zip(found.places[:j], found.shifts, strict=False)}
        with torch.no_grad():
            logits = plain_run(lm, encoded.ids[:-1], moved)[encoded.start - 1 :]
        nll = functional.cross_entropy(logits, torch.tensor(encoded.target), reduction="none")
        each = [float(nll[a:b].mean()) for a, b in pairwise(bounds)]
        assert found.nll[j] == pytest.approx(each, abs=1e-3)


def test_a_shift_that_is_good_enough_stops_and_gradients_are_left_as_they_were(tokenizer):
    lm = tiny("llama")
    lm.lm_head.weight.requires_grad_(False)
    encoded = Prompting(tokenizer).encode(OTHER)
    found = fit_shifts(Suffix(lm, LAYER), encoded, [0, len(encoded.target)], Goal(stop=100.0))
    assert found.steps == [1]
    assert not found.shifts.any()
    asks = {name for name, weight in lm.named_parameters() if weight.requires_grad}
    assert asks == {name for name, _ in lm.named_parameters() if "embed_tokens" not in name}


def test_affinity_is_the_cosine_of_gradients(tokenizer):
    lm = tiny("llama")
    encoded = Prompting(tokenizer).encode(FIRST)
    bounds, goal = [0, 12, 24, len(encoded.target)], Goal()
    suffix = Suffix(lm, LAYER)
    states, _ = suffix.states(encoded.ids[:-1])
    found = affinity(Windowed(suffix, encoded, states, bounds), 0, goal)
    place = encoded.start - 1
    delta = torch.zeros(32, requires_grad=True)
    adam, cosines = torch.optim.Adam([delta], lr=goal.rate), []
    for _ in range(3):
        logits = plain_run(lm, encoded.ids[:-1], {(0, place): delta})[place:]
        nll = functional.cross_entropy(logits, torch.tensor(encoded.target), reduction="none")
        decay = goal.decay * delta.norm() / states[0, place].norm() ** 2
        own, middle, long = (
            torch.autograd.grad(nll[:end].mean() + decay, delta, retain_graph=True)[0] for end in bounds[1:]
        )
        cosines.append([functional.cosine_similarity(own, other, dim=0) for other in (middle, long)])
        delta.grad = own
        adam.step()
    wanted = torch.tensor(cosines).mean(0)
    assert found == pytest.approx([1.0, *wanted.tolist()], abs=1e-3)


def test_a_loss_that_is_not_finite_is_named(tokenizer):
    lm = tiny("llama")
    with torch.no_grad():
        lm.model.norm.weight.fill_(float("nan"))
    encoded = Prompting(tokenizer).encode(OTHER)
    with pytest.raises(NotFiniteError, match="loss of window 1 of 1 is nan at step 1, so this edit is left out"):
        fit_shifts(Suffix(lm, LAYER), encoded, [0, len(encoded.target)], Goal())


def test_a_layer_out_of_range_is_refused_with_the_range():
    with pytest.raises(ValueError, match="there is no layer 4; this model has layers 0 to 3"):
        Suffix(tiny("llama"), 4)
