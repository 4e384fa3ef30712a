from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysize.core.errors import SizeError
from anysize.core.sizes import Nesting, Size

axes = st.sampled_from(["dims", "layers", "bits"])
maps = st.dictionaries(axes, st.integers(1, 4), min_size=1)
sizes = maps.map(Size)
levels = st.sets(st.integers(1, 64), min_size=1, max_size=4).map(lambda found: tuple(sorted(found)))
grids = st.dictionaries(axes, levels, min_size=1).map(lambda found: Nesting(**found))


@given(sizes)
def test_what_is_printed_reads_back(size):
    assert Size.parse(str(size)) == size
    assert eval(repr(size)) == size
    assert pickle.loads(pickle.dumps(size)) == copy.deepcopy(size) == size


@given(sizes, sizes, sizes)
def test_containment_is_a_partial_order(a, b, c):
    assert a <= a
    assert not a < a
    assert not (a <= b and b <= a) or a == b
    assert not (a <= b and b <= c) or a <= c
    assert (a < b) == (a <= b and a != b) == (b > a)
    assert (a <= b) == (b >= a)


@given(maps)
def test_the_order_in_which_axes_are_given_does_not_matter(values):
    backwards = Size(dict(reversed(values.items())))
    assert backwards == Size(values)
    assert hash(backwards) == hash(Size(values))


def test_sizes_of_which_neither_contains_the_other_do_not_compare():
    wide, deep = Size(layers=2, dims=16), Size(layers=4, dims=8)
    assert not wide <= deep
    assert not deep <= wide
    assert not Size(dims=8) <= deep


def test_values_read_as_attributes_and_stay_as_they_are():
    size = Size(layers=4, dims=64)
    assert (size.dims, size["layers"], str(size)) == (64, 4, "layers=4,dims=64")
    assert size.replace(dims=8) == Size(layers=4, dims=8)
    with pytest.raises(AttributeError, match="frozen"):
        size.dims = 3
    with pytest.raises(AttributeError, match="no axis 'bits'"):
        size.bits  # noqa: B018


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs at least one axis"),
        ({"weights": 1}, "'weights' cannot name an axis"),
        ({"two words": 1}, "cannot name an axis"),
        ({"dims": 0}, "dims=0 is not a size"),
        ({"dims": 2.0}, r"dims=2\.0 is not a size"),
        ({"dims": True}, "dims=True is not a size"),
    ],
)
def test_a_size_refuses(values, message):
    with pytest.raises(SizeError, match=message):
        Size(values)


@pytest.mark.parametrize("text", ["", "64", "dims", "dims=", "dims=-3", "dims=1.5", "dims=3,", "dims:3"])
def test_unreadable_text_is_refused_with_an_example(text):
    with pytest.raises(SizeError, match="write it like dims=64"):
        Size.parse(text)


def test_reading_forgives_spaces_and_refuses_an_axis_given_twice():
    assert Size.parse(" dims = 64 , layers=2") == Size(dims=64, layers=2)
    with pytest.raises(SizeError, match="gives dims twice"):
        Size.parse("dims=3,dims=4")


@given(grids)
def test_a_grid_grows_to_its_full_size_and_survives_json(nesting):
    for index, size in enumerate(nesting):
        assert size <= nesting.full
        assert not any(later <= size for later in nesting[index + 1 :])
        assert nesting.resolve(size) is size
    again = Nesting.from_json(nesting.to_json())
    assert again == nesting
    assert hash(again) == hash(nesting)
    assert eval(repr(nesting)) == nesting


@given(grids, st.data())
def test_what_a_size_contains_is_what_loading_there_leaves(nesting, data):
    size = data.draw(st.sampled_from(list(nesting)))
    left = nesting.up_to(size)
    assert left.full == size
    assert set(left) == {known for known in nesting if known <= size}


def test_axes_that_are_not_named_stay_whole():
    nesting = Nesting(layers=(2, 4), dims=(8, 16))
    assert nesting.resolve() == nesting.full == Size(layers=4, dims=16)
    assert nesting.resolve(dims=8) == Size(layers=4, dims=8)
    assert nesting.resolve(Size(dims=8), layers=2) == Size(layers=2, dims=8)
    assert nesting.levels("dims") == (8, 16)
    assert Size(layers=2, dims=8) in nesting


def test_weights_stay_with_their_sizes():
    nesting = Nesting(dims=(8, 16, 32), weights=[1, 2, 3])
    assert nesting.up_to(Size(dims=16)).weights == (1.0, 2.0)
    assert nesting != Nesting(dims=(8, 16, 32))
    assert eval(repr(nesting)) == nesting


def test_a_menu_prints_as_a_menu():
    menu = Nesting.pairs([Size(layers=2, dims=8), Size(layers=4, dims=16)], [1.0, 0.5])
    assert eval(repr(menu)) == menu
    with pytest.raises(SizeError, match="trained for layers=2,dims=8; layers=4,dims=16; layers=4,dims=8 is not one"):
        menu.resolve(dims=8)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dims": 12}, "trained for dims 8, 16, 32; 12 lies between 8 and 16"),
        ({"dims": 64}, "64 is larger than all of them"),
        ({"dims": 4}, "4 is smaller than all of them"),
        ({"layers": 2}, "no axis 'layers'; it is nested in dims"),
    ],
)
def test_an_untrained_size_is_refused_with_its_neighbours(asked, message):
    with pytest.raises(SizeError, match=message):
        Nesting(dims=(8, 16, 32)).resolve(**asked)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Nesting(), "at least one axis"),
        (lambda: Nesting(dims=()), "dims lists no sizes"),
        (lambda: Nesting(dims=(8, 32, 16)), "dims must be increasing: 16 comes after 32"),
        (lambda: Nesting(dims=(8, 8)), "8 comes after 8"),
        (lambda: Nesting(dims=(0, 8)), "dims=0 is not a size"),
        (lambda: Nesting(dims=(8, 16), weights=[1]), "1 weights for 2 sizes"),
        (lambda: Nesting(dims=(8, 16), weights=[1, -1]), "weight -1 is not"),
        (lambda: Nesting(dims=(8, 16), weights=[1, float("nan")]), "weight nan is not"),
        (lambda: Nesting.pairs([]), "at least one size"),
        (
            lambda: Nesting.pairs([Size(dims=8), Size(layers=2), Size(dims=9)]),
            "name the same axes; got dims=8 beside layers=2",
        ),
        (lambda: Nesting.pairs([Size(a=1, b=4), Size(a=2, b=2)]), "a=2,b=2 does not contain a=1,b=4"),
        (lambda: Nesting.pairs([Size(dims=8), Size(dims=4), Size(dims=16)]), "dims=4 comes after dims=8"),
    ],
)
def test_a_nesting_refuses(make, message):
    with pytest.raises(SizeError, match=message):
        make()
