import copy
import itertools
import json
import pickle
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

axes = st.sampled_from(["dims", "layers", "bits", "tokens"])
whole = st.integers(1, 40)
shares = st.fractions(0, 1, max_denominator=40).filter(bool)
values = whole | shares
sizes = st.dictionaries(axes, values, min_size=1).map(Size)
planar = st.builds(Size, dims=whole, layers=shares)
levels = st.sets(whole, min_size=1, max_size=5).map(sorted) | st.sets(shares, min_size=1, max_size=5).map(sorted)


@st.composite
def nestings(draw):
    listed = draw(st.dictionaries(axes, levels, min_size=1, max_size=3))
    count = len(list(itertools.product(*listed.values())))
    finite = st.floats(0, 1e6)
    weights = draw(st.none() | st.lists(finite, min_size=count, max_size=count))
    opened = draw(st.sets(st.sampled_from(list(listed))))
    return Nesting(weights=weights, open=opened, **listed)


@given(sizes)
def test_a_size_reads_back_as_it_prints(size):
    assert Size.parse(str(size)) == size
    assert eval(repr(size), {"Size": Size}) == size
    assert copy.deepcopy(size) == pickle.loads(pickle.dumps(size)) == size
    back = Size(json.loads(json.dumps(size.to_json())))
    assert back == size
    assert hash(back) == hash(size)
    assert [type(value) for value in back.values()] == [type(value) for value in size.values()]


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


def test_a_share_is_written_as_one_and_read_as_one():
    size = Size(audio=Fraction(1, 16), video="2/10")
    assert size == Size.parse("audio=1/16,video=1/5") == Size(video=Fraction(1, 5), audio="1/16")
    assert hash(Size(audio="2/4")) == hash(Size(audio=Fraction(1, 2)))
    assert size.audio == Fraction(1, 16)
    assert str(size) == "audio=1/16,video=1/5"
    assert repr(size) == "Size(audio='1/16', video='1/5')"
    assert size.bare == "1/16:1/5"
    assert size.to_json() == {"audio": "1/16", "video": "1/5"}
    assert Size(audio="1/4", dims=64).to_json() == {"audio": "1/4", "dims": 64}
    assert Size(audio="1/4", dims=64).shares == ("audio",)


def test_the_whole_is_not_the_number_one():
    whole, one = Size(audio="1/1"), Size(audio=1)
    assert whole.to_json() == {"audio": "1/1"}
    assert str(whole) == "audio=1/1"
    assert Size.parse("audio=2/2") == whole != one == Size.parse("audio=1")
    assert hash(whole) != hash(one)
    assert not whole <= one
    assert not one <= whole
    assert Size(audio="1/2") < whole


@given(sizes, sizes)
def test_equal_sizes_are_those_that_print_the_same_values(one, other):
    assert (one == other) == (sorted(str(one).split(",")) == sorted(str(other).split(",")))
    if one == other:
        assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.25, "audio=0.25 is not a size; write 1/4"),
        (0.0625, "write 1/16"),
        (0.3333333, "write 1/3"),
        ("5/4", "audio='5/4' is not a size; a share is above 0 and at most 1"),
        (Fraction(5, 4), "audio=5/4 is not a size; a share is above 0 and at most 1"),
        (Fraction(0), "audio=0/1 is not a size; a share is above 0"),
        (Fraction(-1, 4), "a share is above 0"),
        ("1/0", "a share is above 0"),
        ("a/b", "a share is above 0"),
        (1.5, "whole number of at least 1, or a share such as 1/4"),
    ],
)
def test_what_is_no_share(value, words):
    with pytest.raises(SizeError, match=words):
        Size(audio=value)
    with pytest.raises(SizeError, match="write 1/4"):
        Size.parse("audio=0.25")


@pytest.mark.parametrize("value", [0, -1, 2.0, "8", None, True])
def test_what_is_not_a_size(value):
    with pytest.raises(SizeError, match="whole number of at least 1"):
        Size(dims=value)


@pytest.mark.parametrize("axis", ["", "two words", "8", "keys", "weights", "get", "open", "to_json", "shares"])
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
    grid = itertools.product(*(nesting.values(axis) for axis in nesting.axes))
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
    assert part.open == nesting.open
    assert list(part) == [known for known in nesting if known <= size]
    assert part.weights == tuple(nesting.weights[list(nesting).index(known)] for known in part)


@given(nestings(), axes, values)
def test_a_size_is_trained_or_offered_or_refused_with_the_choices(nesting, axis, value):
    known = axis in nesting.axes and isinstance(value, Fraction) == isinstance(nesting.full[axis], Fraction)
    offered = known and axis in nesting.open and value <= nesting.full[axis]
    if offered or (known and value in nesting.values(axis)):
        found = nesting.resolve({axis: value})
        assert found == nesting.full.replace(**{axis: value})
        assert offered or found in nesting
        return
    with pytest.raises(SizeError) as refused:
        nesting.resolve({axis: value})
    choices = [Size({axis: one}).bare for one in nesting.values(axis)] if known else ()
    assert all(choice in str(refused.value) for choice in (nesting.axes if axis not in nesting.axes else choices))


@given(nestings(), st.data())
def test_the_part_up_to_an_open_size_offers_it_untrained(nesting, data):
    assume(nesting.open)
    known = data.draw(st.sampled_from(list(nesting)))
    parts = {axis: data.draw(st.integers(1, 9)) for axis in nesting.open if axis in known.shares}
    below = {axis: known[axis] / part for axis, part in parts.items()}
    counted = {axis: data.draw(st.integers(1, known[axis])) for axis in nesting.open if axis not in known.shares}
    asked = known.replace(**below, **counted)
    part = nesting.up_to(asked)
    assert part.full == asked
    assert part.resolve() == asked
    assert [size for size in part if size in nesting] == [size for size in nesting if size <= asked]
    assert dict(zip(part, part.weights, strict=True)) == {
        **({} if asked in nesting else {asked: 0.0}),
        **{size: weight for size, weight in zip(nesting, nesting.weights, strict=True) if size <= asked},
    }


def test_an_open_axis_runs_at_any_number_up_to_the_largest():
    nesting = Nesting(tokens=(1, 16, 256), open=("tokens",))
    assert nesting.resolve(tokens=9) == nesting.resolve("9") == nesting.resolve("tokens=9") == Size(tokens=9)
    assert nesting.values("tokens") == (1, 16, 256)
    assert Size(tokens=9) not in nesting
    assert nesting.resolve_all(None) == [Size(tokens=1), Size(tokens=16), Size(tokens=256)]
    assert repr(nesting) == "Nesting(tokens=(1, 16, 256), open=('tokens',))"
    assert nesting.to_json()["open"] == ["tokens"]
    assert nesting != Nesting(tokens=(1, 16, 256))
    with pytest.raises(SizeError, match="tokens 1, 16, 256, and runs at any number up to 256; 300 is larger than all"):
        nesting.resolve(tokens=300)
    grid = Nesting(layers=(2, 4), tokens=(1, 16), open=["tokens"])
    assert grid.resolve(layers=2, tokens=7) == Size(layers=2, tokens=7)
    with pytest.raises(SizeError, match="trained for layers 2, 4; 3 lies between"):
        grid.resolve(layers=3, tokens=7)
    menu = Nesting.pairs([Size(layers=2, tokens=4), Size(layers=4, tokens=16)], open=["tokens"])
    assert menu.resolve(layers=2, tokens=3) == Size(layers=2, tokens=3)
    with pytest.raises(SizeError, match="layers=2,tokens=5 is not one of them"):
        menu.resolve(layers=2, tokens=5)


def test_an_open_axis_of_shares_runs_at_any_up_to_the_largest():
    nesting = Nesting(audio=("1/16", "1/4"), open=("audio",))
    assert nesting.resolve("audio=1/8") == Size(audio="1/8")
    assert nesting.up_to(Size(audio="1/8")).trained == (Size(audio="1/16"),)
    with pytest.raises(SizeError, match="audio 1/16, 1/4, and runs at any share up to 1/4; 1/2 is larger than all"):
        nesting.resolve(audio="1/2")


def test_files_without_open_axes_say_nothing_of_them():
    value = Nesting(dims=(8, 16)).to_json()
    assert value == {"sizes": [{"dims": 8}, {"dims": 16}], "weights": [1.0, 1.0]}
    assert Nesting.from_json(value).open == ()


def test_values_of_an_axis_are_shares_or_numbers():
    nesting = Nesting(audio=("1/16", Fraction(1, 4), "1/1"), dims=(8,))
    assert nesting.values("audio") == (Fraction(1, 16), Fraction(1, 4), Fraction(1))
    assert nesting.resolve(audio="1/4") == nesting.resolve("audio=2/8") == Size(audio="1/4", dims=8)
    assert repr(nesting) == "Nesting(audio=('1/16', '1/4', '1/1'), dims=(8,))"
    with pytest.raises(SizeError, match="trained for audio 1/16, 1/4, 1/1; 1/8 lies between 1/16 and 1/4"):
        nesting.resolve(audio="1/8")
    with pytest.raises(SizeError, match=r"audio is nested in shares of the whole, such as 1/4; got 1$"):
        nesting.resolve(audio=1)
    with pytest.raises(SizeError, match="dims is nested in whole numbers; got 1/1"):
        nesting.resolve(dims="1/1")


def test_sizes_are_asked_for_as_they_are_typed():
    one, two = Nesting(dims=(8, 16, 32)), Nesting(layers=(2, 4), dims=(8, 16))
    assert one.resolve_all("8,32") == one.resolve_all("dims=8,dims=32") == [one[0], one[2]]
    assert one.resolve("16") == one[1]
    assert two.resolve_all("2:8,4:16") == [two[0], two[3]]
    assert two.resolve_all("layers=2,dims=8") == two.resolve_all("layers=2:dims=8") == [two[0]]
    assert two.resolve_all("layers=2") == [Size(layers=2, dims=16)]
    menu = Nesting.pairs(list(one), names=["small", "mid", "tall"])
    assert menu.resolve_all("small, tall") == menu.resolve_all("small,32") == [one[0], one[2]]
    for text, words in (("8,9", "9 lies between 8 and 16"), ("huge", "no size is called 'huge'"), ("2:8", "'2:8'")):
        with pytest.raises(SizeError, match=words):
            one.resolve_all(text)


def test_a_menu_fits_a_model_or_is_refused():
    menu = Nesting.parse("2:8,4:16")
    assert menu.within(Size(layers=4, dims=16)) is menu
    with pytest.raises(SizeError, match="layers=4,dims=16 exceeds the model, which has layers=3,dims=16"):
        menu.within(Size(layers=3, dims=16))
    with pytest.raises(SizeError, match="sizes of this model name layers; got layers=4,dims=16"):
        menu.within(Size(layers=3))


def test_refusals_say_where_the_size_lies():
    nesting = Nesting(dims=(8, 16, 32))
    for asked, where in ((12, "12 lies between 8 and 16"), (4, "4 is smaller than all"), (64, "64 is larger than all")):
        with pytest.raises(SizeError, match=f"trained for dims 8, 16, 32; {where}"):
            nesting.resolve(dims=asked)
    with pytest.raises(SizeError, match="no axis 'layers'; there are: dims"):
        nesting.resolve(layers=2)
    with pytest.raises(SizeError, match="no axis 'dim'; did you mean dims"):
        nesting.resolve(dim=8)
    with pytest.raises(SizeError, match="no axis 'dim'; did you mean dims"):
        nesting.values("dim")


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
    assert menu.values("layers") == (2, 4)
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
        (lambda: Nesting(audio=("1/4", "1/16")), "increasing: 1/16 comes after 1/4"),
        (lambda: Nesting(audio=("1/16", 1)), "audio lists shares or whole numbers, .*: 1 beside 1/16; write 1/1"),
        (lambda: Nesting(dims=(8, "1/1")), "not some of each: 8 beside 1/1"),
        (lambda: Nesting(dims=(0.25, 0.5)), "dims=0.25 is not a size; write 1/4"),
        (lambda: Nesting.pairs([Size(a="1/2"), Size(a=2)]), "a lists shares or whole numbers"),
        (lambda: Nesting(dims=(8,), open=("tokens",)), "no axis 'tokens' to be open; there are: dims"),
        (lambda: Nesting(dims=(8,), open="dims"), "open axes are given as a list"),
        (lambda: Nesting.pairs([Size(a=2)], names=["one"], open=["a"]), "names has no open axes"),
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
