import math

import pytest
import torch

from anysize.core.errors import DataError
from anysize.text import MatryoshkaLoss
from anysize.text.tasks.losses import CoSENTLoss, InfoNCELoss, SeparationLoss, TripletInfoNCELoss


class Table(torch.nn.Module):
    """A model whose texts are rows of a table; it counts its calls."""

    def __init__(self, rows=24, width=6, dtype=torch.float64):
        super().__init__()
        self.rows = torch.nn.Parameter(torch.randn(rows, width, generator=torch.Generator().manual_seed(3)).to(dtype))
        self.calls = 0

    def forward(self, features):
        self.calls += 1
        return {"sentence_embedding": self.rows[features["ids"]]}

    def get_embedding_dimension(self):
        return self.rows.shape[1]


def columns(*ids):
    return [{"ids": torch.tensor(one)} for one in ids]


def cosine(u, v):
    return float((u @ v) / (u.norm() * v.norm()))


def gradient(function, rows, epsilon=1e-5):
    """By differences, entry by entry."""
    found = torch.zeros_like(rows)
    for place in range(rows.numel()):
        for sign in (1, -1):
            moved = rows.clone()
            moved.view(-1)[place] += sign * epsilon
            found.view(-1)[place] += sign * function(moved) / (2 * epsilon)
    return found


def agree(loss, given, labels, plain):
    """Value and gradient of `loss` are those of `plain`, a function of the table's rows by plain loops."""
    model = loss.model
    model.rows.grad = None
    value = loss(columns(*given), labels)
    value.backward()
    rows = model.rows.detach()
    assert float(value.detach()) == pytest.approx(plain(rows), rel=1e-5)
    torch.testing.assert_close(model.rows.grad, gradient(plain, rows), atol=2e-4, rtol=2e-3)


Q, P, N1, N2 = [0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14], [15, 16, 17, 18, 19]


def nce(rows, left, right, tau, more=(), labels=None):
    total = 0.0
    for i, a in enumerate(left):
        own = math.exp(cosine(rows[a], rows[right[i]]) / tau)
        bottom = 0.0
        for j, b in enumerate(right):
            if i == j or labels is None or labels[i] != labels[j]:
                bottom += math.exp(cosine(rows[a], rows[b]) / tau)
        for column in more:
            for b in column:
                bottom += math.exp(cosine(rows[a], rows[b]) / tau)
        total -= math.log(own / bottom)
    return total / len(left)


@pytest.mark.parametrize("both", [True, False])
def test_info_nce_is_its_equation(both):
    def plain(rows):
        return nce(rows, Q, P, 0.3) + (nce(rows, P, Q, 0.3) if both else 0)

    agree(InfoNCELoss(Table(), temperature=0.3, bidirectional=both), [Q, P], None, plain)


@pytest.mark.parametrize("labels", [None, [0, 1, 0, 2, 1]])
@pytest.mark.parametrize("negatives", [[], [N1], [N1, N2]])
def test_triplet_info_nce_is_its_equation_with_any_number_of_negatives(labels, negatives):
    def plain(rows):
        return nce(rows, Q, P, 0.2, negatives, labels) + nce(rows, P, Q, 0.2, (), labels)

    given = None if labels is None else torch.tensor(labels)
    agree(TripletInfoNCELoss(Table(), temperature=0.2), [Q, P, *negatives], given, plain)


def cosent(similarities, labels, tau):
    total = 1.0
    for s_high, high in zip(similarities, labels, strict=True):
        for s_low, low in zip(similarities, labels, strict=True):
            if high > low:
                total += math.exp((s_low - s_high) / tau)
    return math.log(total)


@pytest.mark.parametrize("labels", [[0.1, 0.9, 0.5, 0.5, 0.2], [1.0] * 5, [5.0, 4.0, 3.0, 2.0, 1.0]])
def test_cosent_is_its_equation_also_with_ties(labels):
    def plain(rows):
        return cosent([cosine(rows[a], rows[b]) for a, b in zip(Q, P, strict=True)], labels, 0.1)

    agree(CoSENTLoss(Table(), temperature=0.1), [Q, P], torch.tensor(labels), plain)


def test_separation_takes_all_pairs_of_texts_of_all_columns():
    labels = [0, 1, 0, 2, 1]

    def plain(rows):
        texts, each = [*Q, *P], [*labels, *labels]
        pairs = [(i, j) for i in range(10) for j in range(i + 1, 10)]
        similarities = [cosine(rows[texts[i]], rows[texts[j]]) for i, j in pairs]
        return cosent(similarities, [float(each[i] == each[j]) for i, j in pairs], 0.2)

    agree(SeparationLoss(Table(), temperature=0.2), [Q, P], torch.tensor(labels), plain)


def test_separation_draws_as_many_pairs_as_it_is_told(monkeypatch):
    import anysize.text.tasks.losses as home

    seen, kept = [], home.cosent
    monkeypatch.setattr(home, "cosent", lambda found, *rest: (seen.append(len(found)), kept(found, *rest))[1])
    for many in (7, 700, None):
        SeparationLoss(Table(), max_pairs=many)(columns(Q, P), torch.tensor([0, 1, 0, 2, 1]))
    assert seen == [7, 45, 45]


def test_cosent_of_many_pairs_takes_no_square_memory():
    model = Table(rows=40_000, width=2, dtype=torch.float32)
    ids = torch.arange(20_000)
    loss = CoSENTLoss(model)([{"ids": ids}, {"ids": ids + 20_000}], torch.rand(20_000))
    loss.backward()
    assert torch.isfinite(model.rows.grad).all()


@pytest.mark.parametrize("make", [InfoNCELoss, TripletInfoNCELoss, CoSENTLoss, SeparationLoss])
def test_stays_in_float32_under_autocast_and_is_finite_at_a_small_temperature(make):
    model = Table(dtype=torch.float32)
    labels = torch.tensor([0, 1, 0, 2, 1])
    exact = make(model, temperature=0.02)(columns(Q, P), labels)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = make(model, temperature=0.02)(columns(Q, P), labels)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, exact)
    exact.backward()
    assert torch.isfinite(model.rows.grad).all()


@pytest.mark.parametrize("make", [InfoNCELoss, TripletInfoNCELoss, CoSENTLoss, SeparationLoss])
def test_stands_inside_the_nested_loss(make):
    model, labels = Table(), torch.tensor([0, 1, 0, 2, 1])
    nested = MatryoshkaLoss(model, make(model), matryoshka_dims=[2, 6])(columns(Q, P), labels)
    assert model.calls == 2
    cut = Table()
    cut.rows = torch.nn.Parameter(model.rows[:, :2].detach())
    alone = make(model)(columns(Q, P), labels) + make(cut)(columns(Q, P), labels)
    torch.testing.assert_close(nested, alone, check_dtype=False)


@pytest.mark.parametrize(
    ("loss", "given", "labels", "words"),
    [
        (InfoNCELoss, [Q, P, N1], None, "two columns; got 3"),
        (TripletInfoNCELoss, [Q], None, "got 1 columns"),
        (CoSENTLoss, [Q, P], None, "a score for each row"),
        (SeparationLoss, [Q, P], None, "needs a label"),
    ],
)
def test_columns_that_do_not_fit_are_refused(loss, given, labels, words):
    with pytest.raises(DataError, match=words):
        loss(Table())(columns(*given), labels)


def test_impossible_settings_are_refused():
    with pytest.raises(DataError, match="above zero; got 0"):
        CoSENTLoss(Table(), temperature=0)
    with pytest.raises(DataError, match="at least 2"):
        SeparationLoss(Table(), max_pairs=1)
