from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError, SizeError
from anysize.vision import (
    EMATeacher,
    KoLeoLoss,
    NestedDINOLoss,
    NestedIBOTPatchLoss,
    NestedPrototypeHead,
    TeacherTempSchedule,
)
from anysize.vision.heads.nested import in_proportion
from anysize.vision.heads.teacher import Cosine


def head(**options):
    torch.manual_seed(0)
    return NestedPrototypeHead(16, 32, (4, 8, 16), hidden_dim=12, bottleneck_dim=6, **options)


def test_a_prefix_is_all_that_a_size_reads():
    tokens = torch.randn(5, 16)
    changed = torch.cat([tokens[:, :4], torch.randn(5, 12)], 1)
    nested, released = head(), head(nesting="projection")
    assert nested.n_prototypes == (8, 16, 32)
    assert [tuple(one.shape) for one in nested(tokens)] == [(5, 8), (5, 16), (5, 32)]
    assert torch.equal(nested(tokens)[0], nested(changed)[0])
    assert not torch.equal(nested(tokens)[1], nested(changed)[1])
    assert not torch.equal(released(tokens)[0], released(changed)[0])  # the released code reads everything
    nested(tokens)[0].sum().backward()
    assert all(weight.grad is None for name, weight in nested.named_parameters() if name.startswith("mlps.1"))


@torch.no_grad()
def test_scores_are_bounded_by_one_where_the_bottleneck_is_normalised():
    tokens = 50 * torch.randn(64, 16)
    assert max(float(one.abs().max()) for one in head()(tokens)) <= 1 + 1e-5
    free = head(norm_bottleneck=False)
    for weight in free.mlps.parameters():
        weight.mul_(20)
    assert max(float(one.abs().max()) for one in free(tokens)) > 1
    layer = free.last_layers[0]
    torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(8))  # weight-normed, gain 1


def test_hidden_layers_are_narrower_in_proportion_to_sizes():
    assert in_proportion(2048, (24, 48, 96, 192, 384), 384) == (384, 384, 512, 1024, 2048)
    assert in_proportion(16, (6, 24), 32) == (16, 16)
    made = NestedPrototypeHead(16, 32, (4, 16), hidden_dim=(3, 12), bottleneck_dim=6)
    assert [
        [tuple(layer.weight.shape) for layer in mlp if isinstance(layer, torch.nn.Linear)] for mlp in made.mlps
    ] == [
        [(3, 4), (3, 3), (6, 3)],
        [(12, 16), (12, 12), (6, 12)],
    ]
    with pytest.raises(SizeError, match="one number, or one to each"):
        NestedPrototypeHead(16, 32, (4, 16), hidden_dim=(3, 6, 12))


def test_wrong_sizes_are_told():
    with pytest.raises(SizeError, match="exceeds tokens of 16"):
        NestedPrototypeHead(16, 8, (4, 32))
    with pytest.raises(SizeError, match="give at least 2 to each"):
        NestedPrototypeHead(16, 4, (2, 16))
    with pytest.raises(AnysizeError, match="prefix, projection or full"):
        NestedPrototypeHead(16, 8, (4, 16), nesting="slice")  # type: ignore[arg-type]
    with pytest.raises(SizeError, match="tokens of width 8; expected 16"):
        head()(torch.zeros(2, 8))


def test_dino_compares_each_view_with_the_teachers_others():
    torch.manual_seed(1)
    student = [[torch.randn(3, 4), torch.randn(3, 6)] for _ in range(4)]
    teacher = [[torch.softmax(torch.randn(3, k), 1) for k in (4, 6)] for _ in range(2)]
    wanted = 0.0
    for j in range(2):
        pairs = [(0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]
        for v, t in pairs:
            for row in range(3):
                logits = student[v][j][row] / 0.1
                wanted += (
                    -sum(teacher[t][j][row, k] * (logits[k] - torch.logsumexp(logits, 0)) for k in range(len(logits)))
                    / 3
                    / len(pairs)
                )
    torch.testing.assert_close(NestedDINOLoss()(student, teacher), wanted)
    one, other = NestedDINOLoss(weights=(1, 0)).terms(student, teacher)
    assert float(other) == 0 < float(one)
    with pytest.raises(AnysizeError, match="there is one view"):
        NestedDINOLoss()(student[:1], teacher[:1])


def test_ibot_averages_each_picture_over_its_own_masked_patches():
    torch.manual_seed(2)
    masks = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool)
    student, teacher = torch.randn(4, 5), torch.softmax(torch.randn(4, 5), 1)
    each = functional.cross_entropy(student / 0.1, teacher, reduction="none")
    torch.testing.assert_close(NestedIBOTPatchLoss()([student], [teacher], masks), (each[:3].mean() + each[3]) / 3)
    with pytest.raises(AnysizeError, match="leave out padding"):
        NestedIBOTPatchLoss()([torch.randn(6, 5)], [teacher], masks)


def test_koleo_is_the_log_distance_to_the_nearest():
    vectors = torch.tensor([[1.0, 0], [0, 2], [-3, 0.0]], requires_grad=True)
    # Unit vectors at 0, 90 and 180 degrees: the nearest is sqrt(2) away from each.
    loss = KoLeoLoss()(vectors)
    assert loss.item() == pytest.approx(-math.log(math.sqrt(2)), abs=1e-6)
    loss.backward()
    assert torch.isfinite(vectors.grad).all()
    same = torch.ones(3, 2, requires_grad=True)
    KoLeoLoss()(same).backward()  # distance 0
    assert torch.isfinite(same.grad).all()


def test_the_teacher_follows():
    student = torch.nn.BatchNorm1d(2)
    teacher = EMATeacher(student)
    with torch.no_grad():
        student.weight.fill_(3)
        student.running_mean.fill_(5)
    teacher.train()
    assert not teacher.net.training
    teacher.update(student, 0.75)
    assert teacher.net.weight.tolist() == [1.5, 1.5]
    assert teacher.net.running_mean.tolist() == [5, 5]
    assert not any(weight.requires_grad for weight in teacher.parameters())
    schedule = TeacherTempSchedule(0.04, 0.07, 10)
    assert [schedule(step) for step in (0, 5, 10, 99)] == pytest.approx([0.04, 0.055, 0.07, 0.07])
    momentum = Cosine(0.994, 1, 4)
    assert [momentum(step) for step in (0, 2, 4, 9)] == pytest.approx([0.994, 0.997, 1, 1])
