from __future__ import annotations

import numpy as np
import pytest
import torch

from anysize.core.losses.head import HeadRows, NeighbourHead, PairHead, as_tensor
from anysize.core.sizes.nesting import Nesting
from anysize.evaluation.principal import principal_rows
from tests.conftest import WIDTH, spread_vectors

NESTING = Nesting(dims=(2, 4, 8))
SCALE = 20.0


def draw(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    one, other = one.double(), other.double()
    return (one / one.norm(dim=1, keepdim=True)) @ (other / other.norm(dim=1, keepdim=True)).T


def info_nce(anchors: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(SCALE * cosines(anchors, documents), torch.arange(len(anchors)))


def kept(vectors: torch.Tensor, weight: torch.Tensor, dims: int) -> torch.Tensor:
    """KL(teacher || student) over the other rows, one row at a time."""
    total = torch.zeros((), dtype=torch.float64)
    z = vectors @ weight[:dims].T
    for row in range(len(vectors)):
        others = [other for other in range(len(vectors)) if other != row]
        p = torch.softmax(SCALE * cosines(vectors[[row]], vectors[others])[0], 0)
        q = torch.softmax(SCALE * cosines(z[[row]], z[others])[0], 0)
        total = total + (p * (p / q).log()).sum()
    return total / len(vectors)


def test_principal_rows_are_a_rotation_that_keeps_cosines():
    features = spread_vectors(60)
    rows = principal_rows(features, WIDTH)
    torch.testing.assert_close(rows @ rows.T, torch.eye(WIDTH), atol=1e-5, rtol=0)
    x = torch.from_numpy(features)
    torch.testing.assert_close(cosines(x @ rows.T, x @ rows.T), cosines(x, x), atol=1e-5, rtol=0)


def test_principal_rows_lead_with_the_direction_of_most_energy():
    features = np.zeros((50, 6), np.float32)
    features[:, 4] = np.linspace(1, 2, 50)
    features[::5, 1] = 1
    rows = principal_rows(features, 2)
    assert rows.shape == (2, 6)
    assert rows[0].abs().argmax() == 4
    x = torch.nn.functional.normalize(torch.from_numpy(features).double(), dim=1)
    top = torch.linalg.svd(x, full_matrices=False)[2][0]
    assert abs(abs(float(rows[0].double() @ top)) - 1) < 1e-6


def test_the_signs_of_principal_rows_do_not_depend_on_the_order_or_sign_of_the_data():
    features = spread_vectors(80)
    rows = principal_rows(features, 8)
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    assert (largest > 0).all()
    torch.testing.assert_close(principal_rows(-features[::-1], 8), rows, atol=1e-4, rtol=0)


@pytest.mark.parametrize("negatives", [False, True])
def test_the_pair_head_averages_plain_info_nce_over_the_sizes(negatives):
    weight, anchors, positives = draw(8, WIDTH, 0), draw(6, WIDTH, 1), draw(6, WIDTH, 2)
    negative = draw(6, WIDTH, 3) if negatives else None
    head = PairHead(weight, NESTING, SCALE, torch.zeros(0, WIDTH), 0.0)
    documents = positives if negative is None else torch.cat([positives, negative])
    expected = torch.stack(
        [info_nce(anchors @ weight[:dims].T, documents @ weight[:dims].T) for dims in (2, 4, 8)]
    ).mean()
    batch = {"anchor": anchors, "positive": positives} | ({"negative": negative} if negatives else {})
    torch.testing.assert_close(head(**batch)["loss"].double(), expected, atol=1e-4, rtol=1e-5)


def test_the_pair_head_adds_kept_neighbourhoods_of_the_corpus():
    weight, anchors, positives = draw(8, WIDTH, 0), draw(6, WIDTH, 1), draw(6, WIDTH, 2)
    corpus = draw(1, WIDTH, 4).repeat(9, 1) + draw(9, WIDTH, 5)
    alone = PairHead(weight, NESTING, SCALE, corpus, 0.0)(anchor=anchors, positive=positives)["loss"]
    torch.manual_seed(11)
    both = PairHead(weight, NESTING, SCALE, corpus, 2.5)(anchor=anchors, positive=positives)["loss"]
    torch.manual_seed(11)
    drawn = corpus[torch.randint(9, (6,))]
    # A document drawn twice is beside itself as another row.
    expected = torch.stack([kept(drawn, weight, dims) for dims in (2, 4, 8)]).mean()
    torch.testing.assert_close((both - alone).double(), 2.5 * expected, atol=1e-4, rtol=1e-4)


def test_the_neighbour_head_is_a_mean_divergence_from_the_untouched_neighbourhoods():
    weight, vectors = draw(8, WIDTH, 0), draw(7, WIDTH, 1)
    expected = torch.stack([kept(vectors, weight, dims) for dims in (2, 4, 8)]).mean()
    head = NeighbourHead(weight, NESTING, SCALE)
    loss = head(vector=vectors)["loss"]
    torch.testing.assert_close(loss.double(), expected, atol=1e-4, rtol=1e-4)
    loss.backward()
    assert torch.isfinite(head.weight.grad).all()
    assert head.weight.grad.abs().sum() > 0


def test_a_rotation_keeps_all_neighbourhoods_at_full_width():
    vectors = torch.from_numpy(spread_vectors(20))
    head = NeighbourHead(principal_rows(spread_vectors(50), WIDTH), Nesting(dims=(WIDTH,)), SCALE)
    assert abs(head(vector=vectors)["loss"].item()) < 1e-4


def test_a_loss_trains_every_row_of_the_head():
    head = PairHead(draw(8, WIDTH, 0), NESTING, SCALE, torch.zeros(0, WIDTH), 0.0)
    head(anchor=draw(6, WIDTH, 1), positive=draw(6, WIDTH, 2))["loss"].backward()
    assert (head.weight.grad.norm(dim=1) > 0).all()


def test_rows_align_columns_and_leave_out_what_is_missing():
    rows = HeadRows(anchor=np.arange(6.0).reshape(3, 2), positive=np.ones((3, 2)), negative=None)
    assert len(rows) == 3
    assert set(rows[1]) == {"anchor", "positive"}
    assert rows[1]["anchor"].tolist() == [2.0, 3.0]
    assert [one["anchor"].tolist() for one in rows.__getitems__([2, 0])] == [[4.0, 5.0], [0.0, 1.0]]


def test_a_memory_mapped_file_becomes_a_tensor_of_its_own(tmp_path):
    np.save(tmp_path / "v.npy", np.ones((3, 4), np.float32))
    tensor = as_tensor(np.load(tmp_path / "v.npy", mmap_mode="r"))
    tensor += 1
    assert np.load(tmp_path / "v.npy").sum() == 12
