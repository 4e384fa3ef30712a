from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.losses.nested import All, Distill, Random, Sandwich, nested_loss
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

NESTING = Nesting(dims=(2, 4, 8, 16, 32), weights=[1, 2, 3, 4, 5])
SMALL = Nesting(dims=(2, 4), weights=[1.0, 3.0])


def number(size):
    return torch.tensor(float(size.dims))


@pytest.mark.parametrize("schedule", [All(), Random(2), Sandwich(1)])
def test_a_schedule_depends_on_step_and_seed_alone(schedule):
    first = [schedule.pick(NESTING, step, seed=3) for step in range(20)]
    for step in reversed(range(20)):
        assert schedule.pick(NESTING, step, seed=3) == first[step]
    for chosen in first:
        assert list(chosen) == sorted(set(chosen), key=lambda size: size.dims)
        assert set(chosen) <= set(NESTING)


def test_a_schedule_is_the_same_in_every_process():
    drawn = [tuple(size.dims for size in Random(2).pick(NESTING, step, seed=5)) for step in range(6)]
    assert drawn == [(2, 32), (4, 16), (4, 32), (2, 4), (8, 16), (4, 16)]


@pytest.mark.parametrize(("schedule", "count"), [(Random(2), 2), (Random(5), 5), (Sandwich(1), 3), (All(), 5)])
def test_a_schedule_draws_so_many_sizes_and_reaches_all(schedule, count):
    drawn = [schedule.pick(NESTING, step) for step in range(60)]
    assert {len(chosen) for chosen in drawn} == {count}
    assert set().union(*drawn) == set(NESTING)


def test_other_seeds_draw_other_sizes():
    drawn = {tuple(Random(2).pick(NESTING, step, seed) for step in range(10)) for seed in range(5)}
    assert len(drawn) == 5


def test_a_sandwich_always_holds_both_ends():
    for step in range(20):
        chosen = Sandwich(1).pick(NESTING, step)
        assert (chosen[0], chosen[-1]) == (NESTING[0], NESTING.full)
    assert Sandwich(0).pick(SMALL, 0) == tuple(SMALL)
    assert Sandwich(1).pick(Nesting(dims=(8,)), 0) == (Size(dims=8),)


def test_more_sizes_than_there_are_cannot_be_drawn():
    with pytest.raises(SizeError, match="cannot draw 6 of 5 sizes; give a number up to 5"):
        Random(6).pick(NESTING, 0)
    with pytest.raises(SizeError, match="cannot draw 4 of 3 sizes"):
        Sandwich(4).pick(NESTING, 0)


def test_the_total_is_the_weighted_sum_and_terms_are_unweighted():
    loss = nested_loss(SMALL, number)
    assert loss.total == 1 * 2 + 3 * 4
    assert {size.dims: term.item() for size, term in loss.terms.items()} == {2: 2.0, 4: 4.0}
    assert loss[Size(dims=4)] == 4


def test_the_mean_divides_by_the_weights_in_use():
    assert nested_loss(SMALL, number, reduction="mean").total == 14 / 4
    assert nested_loss(SMALL, number, sizes=[Size(dims=4)], reduction="mean").total == 4


def test_each_size_is_asked_once_and_only_those_in_use():
    asked = []
    nested_loss(NESTING, lambda size: asked.append(size) or number(size), sizes=Sandwich(0).pick(NESTING, 0))
    assert asked == [Size(dims=2), Size(dims=32)]


def test_gradients_are_those_of_the_weighted_sum():
    parameter = torch.tensor([3.0], requires_grad=True)
    nested_loss(SMALL, lambda size: (parameter**2 * size.dims).sum(), reduction="mean").total.backward()
    assert parameter.grad == 2 * 3.0 * 14 / 4


def logits(width=6, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {size: torch.randn(5, width, generator=draw).requires_grad_() for size in NESTING}


def divergence(student, teacher):
    return functional.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")


def test_the_teacher_gets_no_gradient_and_every_student_its_share():
    outputs = logits()
    zero = nested_loss(
        NESTING,
        lambda size: outputs[size].sum() * 0,
        distill=Distill(outputs.__getitem__, divergence, weight=0.5),
    )
    zero.total.backward()
    assert not outputs[NESTING.full].grad.any()
    assert set(zero.distilled) == set(NESTING[:-1])
    teacher = outputs[NESTING.full].detach()
    for size, weight in zip(NESTING[:-1], NESTING.weights, strict=False):
        alone = outputs[size].detach().requires_grad_()
        (0.5 * weight * divergence(alone, teacher)).backward()
        assert alone.grad.abs().max() > 1e-3
        torch.testing.assert_close(outputs[size].grad, alone.grad)


def test_distillation_adds_to_the_weighted_sum():
    outputs = logits()
    plain = nested_loss(NESTING, number).total
    both = nested_loss(NESTING, number, distill=Distill(outputs.__getitem__, divergence, weight=2.0))
    pulled = sum(
        weight * both.distilled[size]
        for size, weight in zip(NESTING, NESTING.weights, strict=True)
        if size != NESTING.full
    )
    torch.testing.assert_close(both.total, plain + 2.0 * pulled)


def test_the_teacher_is_the_full_size_even_in_a_step_without_it():
    outputs = logits()
    loss = nested_loss(NESTING, number, sizes=[Size(dims=4)], distill=Distill(outputs.__getitem__, divergence))
    expected = divergence(outputs[Size(dims=4)], outputs[NESTING.full])
    torch.testing.assert_close(loss.distilled[Size(dims=4)], expected)
    alone = nested_loss(NESTING, number, sizes=[NESTING.full], distill=Distill(outputs.__getitem__, divergence))
    assert not alone.distilled
    assert alone.total == 5 * 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": [Size(dims=3)]}, "3 lies between 2 and 4"),
        ({"sizes": []}, "no weight"),
        ({"sizes": [Size(dims=4), Size(dims=4)]}, "a step uses a size once; got dims=4; dims=4"),
        ({"reduction": "max"}, "reduction 'max' is not one of"),
        ({"loss_at": lambda _: torch.ones(3)}, r"the loss at dims=2 has shape \(3,\)"),
    ],
)
def test_refusals_say_what_was_given(options, message):
    with pytest.raises(AnysizeError, match=message):
        nested_loss(NESTING, **{"loss_at": number, **options})


def test_a_step_without_weight_is_refused():
    with pytest.raises(SizeError, match="no weight; give at least one of them a weight above 0"):
        nested_loss(Nesting(dims=(2, 4), weights=[0, 1]), number, sizes=[Size(dims=2)])


def test_a_schedule_that_would_train_nothing_is_refused():
    with pytest.raises(SizeError, match="at least 1"):
        Random(0)
