import copy
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

axes = st.sampled_from(["dims", "layers", "bits", "tokens"])
values = st.integers(1, 40)
sizes = st.dictionaries(axes, values, min_size=1).map(Size)
planar = st.builds(Size, dims=values, layers=values)
levels = st.sets(values, min_size=1, max_size=5).map(sorted)


@st.composite
def nestings(draw):
    listed = draw(st.dictionaries(axes, levels, min_size=1, max_size=3))
    count = len(list(itertools.product(*listed.values())))
    finite = st.floats(0, 1e6)
    weights = draw(st.none() | st.lists(finite, min_size=count, max_size=count))
    return Nesting(weights=weights, **listed)


@given(sizes)
def test_a_size_reads_back_as_it_prints(size):
    assert Size.parse(str(size)) == size
    assert eval(repr(size), {"Size": Size}) == size
    assert copy.deepcopy(size) == size
    assert json.loads(json.dumps(dict(size))) == dict(size)


@given(sizes)
def test_a_size_is_a_mapping_read_as_attributes(size):
    for axis, value in size.items():
        assert getattr(size, axis) == size[axis] == value
    assert Size(**size) == Size(size) == size
    assert len(size) == len(list(size))


@given(st.dictionaries(axes, values, min_size=2))
def test_the_order_of_axes_matters_to_print_only(named):
    forward, backward = Size(named), Size(dict(reversed(named.items())))
    assert forward == backward
    assert hash(forward) == hash(backward)
    assert str(forward) != str(backward)


@given(planar, planar, planar)
def test_containment_is_a_partial_order(a, b, c):
    assert a <= a
    assert not a < a
    assert (a <= b and b <= a) == (a == b)
    assert (a <= b) == (b >= a) == all(a[axis] <= b[axis] for axis in a)
    assert (a < b) == (b > a) == (a <= b and a != b)
    if a <= b and b <= c:
        assert a <= c


def test_sizes_on_other_axes_do_not_compare():
    assert not Size(dims=8) <= Size(layers=9)
    assert not Size(dims=8) <= Size(dims=9, layers=1)
    assert Size(dims=8) != {"dims": 8}
    # Neither contains the other.
    assert not Size(dims=8, layers=1) <= Size(dims=4, layers=2)
    assert not Size(dims=8, layers=1) >= Size(dims=4, layers=2)


def test_a_size_is_frozen():
    size = Size(dims=8)
    with pytest.raises(AttributeError, match="a Size is frozen"):
        size.dims = 9
    with pytest.raises(TypeError):
        size["dims"] = 9
    assert size.replace(dims=9, layers=2) == Size(dims=9, layers=2)
    assert size == Size(dims=8)
    with pytest.raises(AttributeError, match="no axis 'layers'"):
        size.layers  # noqa: B018


@pytest.mark.parametrize("value", [0, -1, 2.0, "8", None, True])
def test_what_is_not_a_size(value):
    with pytest.raises(SizeError, match="whole number of at least 1"):
        Size(dims=value)


@pytest.mark.parametrize("axis", ["", "two words", "8", "keys", "weights", "get"])
def test_what_cannot_name_an_axis(axis):
    with pytest.raises(SizeError, match="cannot name an axis"):
        Size({axis: 8})
    with pytest.raises(SizeError, match="at least one axis"):
        Size()


@pytest.mark.parametrize("text", ["", "dims", "dims=", "=8", "dims=8,", "dims=-8", "dims=8.5", "dims=8;layers=2", "8"])
def test_text_that_is_no_size(text):
    with pytest.raises(AnysizeError):
        Size.parse(text)


def test_text_with_spaces_and_axes_twice():
    assert Size.parse(" layers = 4 , dims=64 ") == Size(layers=4, dims=64)
    with pytest.raises(SizeError, match="gives dims twice"):
        Size.parse("dims=8,dims=9")


@given(st.text())
def test_any_text_is_a_size_or_refused(text):
    try:
        size = Size.parse(text)
    except SizeError:
        return
    assert Size.parse(str(size)) == size


@given(nestings())
def test_a_nesting_grows_and_ends_in_what_contains_all(nesting):
    assert nesting.full == nesting[-1]
    assert all(size <= nesting.full for size in nesting)
    assert all(not after <= before for before, after in itertools.pairwise(nesting))
    assert len(set(nesting)) == len(nesting) == len(nesting.weights)
    assert all(size in nesting for size in nesting)
    grid = itertools.product(*(nesting.levels(axis) for axis in nesting.axes))
    assert [tuple(size.values()) for size in nesting] == list(grid)


@given(nestings())
def test_a_nesting_survives_json_and_repr(nesting):
    back = Nesting.from_json(json.loads(json.dumps(nesting.to_json())))
    assert back == nesting
    assert hash(back) == hash(nesting)
    assert eval(repr(nesting), {"Nesting": Nesting, "Size": Size}) == nesting


@given(nestings(), st.data())
def test_what_is_asked_for_is_found(nesting, data):
    size = data.draw(st.sampled_from(list(nesting)))
    assert nesting.resolve(size) == nesting.resolve(**size) == size
    assert nesting.resolve() == nesting.full
    axis = data.draw(st.sampled_from(nesting.axes))
    assert nesting.resolve({axis: size[axis]}) == nesting.full.replace(**{axis: size[axis]})


@given(nestings(), st.data())
def test_the_part_up_to_a_size(nesting, data):
    size = data.draw(st.sampled_from(list(nesting)))
    part = nesting.up_to(size)
    assert part.full == size
    assert list(part) == [known for known in nesting if known <= size]
    assert part.weights == tuple(nesting.weights[list(nesting).index(known)] for known in part)


@given(nestings(), axes, values)
def test_a_size_is_trained_or_refused_with_the_choices(nesting, axis, value):
    try:
        found = nesting.resolve({axis: value})
    except SizeError as error:
        words = str(error)
        assert axis not in nesting.axes or value not in nesting.levels(axis)
        choices = nesting.levels(axis) if axis in nesting.axes else nesting.axes
        assert all(str(choice) in words for choice in choices)
    else:
        assert found[axis] == value
        assert found in nesting


def test_refusals_say_where_the_size_lies():
    nesting = Nesting(dims=(8, 16, 32))
    for asked, where in ((12, "12 lies between 8 and 16"), (4, "4 is smaller than all"), (64, "64 is larger than all")):
        with pytest.raises(SizeError, match=f"trained for dims 8, 16, 32; {where}"):
            nesting.resolve(dims=asked)
    with pytest.raises(SizeError, match="no axis 'layers'; it is nested in dims"):
        nesting.resolve(layers=2)


def test_refusals_tell_apart_what_is_trained_and_what_is_offered():
    nesting = Nesting(bits=(2, 3, 4, 6, 8), weights=(1, 0, 0.1, 0, 0.1))
    said = r"trained for bits 2, 4, 8 and offers bits 3, 6 untrained; 5 lies between 4 and 6"
    with pytest.raises(SizeError, match=said):
        nesting.resolve(bits=5)
    menu = Nesting.pairs([Size(layers=1, bits=4), Size(layers=2, bits=8)], weights=(0, 1))
    with pytest.raises(SizeError, match=r"^trained for layers=2,bits=8 and offers layers=1,bits=4 untrained; "):
        menu.resolve(layers=1)
    with pytest.raises(SizeError, match=r"^offers bits 32 untrained; 8 is smaller"):
        Nesting(bits=(32,), weights=(0,)).resolve(bits=8)


def test_a_menu_of_pairs_is_no_grid():
    menu = Nesting.pairs([Size(layers=2, dims=8), Size(layers=4, dims=16)], weights=(1, 2))
    assert menu.resolve(layers=2, dims=8) == Size(layers=2, dims=8)
    assert menu.levels("layers") == (2, 4)
    # A single axis leaves the others at their largest value, which the menu does not hold.
    with pytest.raises(SizeError, match="trained for layers=2,dims=8; layers=4,dims=16; layers=2,dims=16 is not one"):
        menu.resolve(layers=2)
    assert repr(menu).startswith("Nesting.pairs(")
    assert menu.up_to(menu[0]).weights == (1.0,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Nesting(), "at least one axis"),
        (lambda: Nesting(dims=()), "dims lists no sizes"),
        (lambda: Nesting(dims=(16, 8)), "increasing: 8 comes after 16"),
        (lambda: Nesting(dims=(8, 8)), "increasing: 8 comes after 8"),
        (lambda: Nesting(dims=(0, 8)), "dims=0 is not a size"),
        (lambda: Nesting(dims=(8, 16), weights=(1,)), "1 weights for 2 sizes"),
        (lambda: Nesting(dims=(8, 16), weights=(1, -1)), "weight -1 is not"),
        (lambda: Nesting(dims=(8, 16), weights=(1, float("nan"))), "weight nan is not"),
        (lambda: Nesting(dims=(8, 16), weights=(1, float("inf"))), "weight inf is not"),
        (lambda: Nesting.pairs([]), "at least one size"),
        (lambda: Nesting.pairs([Size(dims=8), Size(layers=8), Size(dims=9)]), "name the same axes"),
        (lambda: Nesting.pairs([Size(a=9, b=1), Size(a=8, b=2)]), "last size must contain all"),
        (lambda: Nesting.pairs([Size(a=2, b=2), Size(a=1, b=1), Size(a=3, b=3)]), "a=1,b=1 comes after a=2,b=2"),
        (lambda: Nesting.pairs([Size(a=2), Size(a=2)]), "a=2 comes after a=2"),
    ],
)
def test_nestings_that_cannot_be(make, message):
    with pytest.raises(SizeError, match=message):
        make()


def test_a_nesting_is_a_sequence():
    nesting = Nesting(dims=(8, 16, 32))
    assert nesting.index(Size(dims=16)) == 1
    assert nesting[:2] == (Size(dims=8), Size(dims=16))
    assert Size(dims=9) not in nesting
    assert nesting != Nesting(dims=(8, 16, 32), weights=(1, 1, 2))
    assert nesting != Nesting(dims=(8, 16))


def test_a_menu_may_have_names():
    sizes = [Size(layers=2, dims=8), Size(layers=4, dims=16)]
    menu = Nesting.pairs(sizes, names=["demi", "tall"])
    assert menu.resolve("demi") == sizes[0]
    assert menu.resolve("layers=2,dims=8") == sizes[0]
    assert Nesting.from_json(json.loads(json.dumps(menu.to_json()))) == menu
    assert menu != Nesting.pairs(sizes)
    assert menu.up_to(sizes[0]).names == ("demi",)
    assert eval(repr(menu)) == menu
    with pytest.raises(SizeError, match=r"'short'; they are demi, tall"):
        menu.resolve("short")
    with pytest.raises(SizeError, match="write it like dims=64"):
        Nesting.pairs(sizes).resolve("demi")


@pytest.mark.parametrize("names", [["one"], ["one", "one"], ["one", "two words"], ["one", 2]])
def test_names_are_one_word_a_size_and_differ(names):
    with pytest.raises(SizeError):
        Nesting.pairs([Size(dims=8), Size(dims=16)], names=names)
