from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysize.core.errors import SizeError
from anysize.core.sizes.menu import read, read_one, written
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

SIZES = [Size(layers=2, dims=24), Size(layers=4, dims=96)]


@pytest.mark.parametrize(
    "menu",
    [
        "2:24,4:96",
        " 2 : 24 , 4:96",
        "layers=2:dims=24,layers=4:dims=96",
        "layers=2:24,4:dims=96",
        ["2:24", " 4:96 "],
        ("layers=2:dims=24", "4:96"),
        [(2, 24), [4, 96]],
    ],
)
def test_a_menu_is_one_menu_however_it_is_written(menu):
    assert Nesting.parse(menu) == Nesting.pairs(SIZES)


@pytest.mark.parametrize("menu", ["demi=2:24,tall=4:96", ["demi=2:24", "tall=layers=4:dims=96"]])
def test_sizes_of_a_menu_may_have_names(menu):
    assert Nesting.parse(menu) == Nesting.pairs(SIZES, names=["demi", "tall"])
    assert Nesting.parse(menu).resolve("tall") == SIZES[1]


def test_axes_say_what_bare_values_are():
    assert Nesting.parse("8,16", ("tokens",)) == Nesting(tokens=(8, 16))
    assert Nesting.parse("small=8,tall=16", ("tokens",)).names == ("small", "tall")
    assert Nesting.parse("1/16:1/5,1/4:1/1", ("audio", "video")) == Nesting.pairs(
        [Size(audio="1/16", video="1/5"), Size(audio="1/4", video="1/1")]
    )
    # An axis may be left out of a menu only by name.
    assert Nesting.parse("dims=8:bits=2,dims=9:bits=4", ("layers", "dims", "bits"))[0] == Size(dims=8, bits=2)


def test_one_size_with_commas_is_that_size_in_a_menu_too():
    assert Nesting.parse("layers=2,dims=24") == Nesting.pairs(SIZES[:1])
    assert Nesting.parse(("layers=2", "dims=24")) == Nesting.pairs(SIZES[:1])  # as a command line splits it
    assert read("layers=2,layers=4", ("layers", "dims")) == [("", {"layers": 2}), ("", {"layers": 4})]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2:24,4", "cannot read '4' as a size; write it like 2:24 or layers=2,dims=24"),
        ("2:24,four:96", "cannot read 'four:96' as a size; write it like 2:24"),
        ("2:24:3", "cannot read '2:24:3' as a size"),
        ("", "cannot read '' as a size"),
        ("2:0.25", "cannot read '2:0.25' as a size; write 1/4"),
        ("layers=2:layers=3", "'layers=2:layers=3' gives layers twice"),
        ("dims=24:96", "'dims=24:96' gives dims twice"),
        ("layers=2:width=3", "no axis 'width'; there are: layers, dims"),
        ("layers=2:dim=3", "no axis 'dim'; did you mean dims?"),
        ("a=2:24,4:96", "name all or none"),
        ("4:24,2:96", "must contain all"),
        ("a=2:24,a=4:96", "cannot name"),
        ("2:1/4,4:96", "dims lists shares or whole numbers, not some of each: 96 beside 1/4"),
        ([(2, 24), "4:96"], "'4:96' is no size of a menu; give layers, dims"),
        ([(2,)], "a tuple of 1 is no size of a menu"),
        ([], "at least one size"),
        ("0:24", "layers=0 is not a size"),
        ("1/0:24", "cannot read '1/0:24'"),
    ],
)
def test_what_is_no_menu_is_refused_by_the_entry(text, words):
    with pytest.raises(SizeError, match=words):
        Nesting.parse(text)


axes = st.sampled_from(["dims", "layers", "bits"])
shares = st.fractions(0, 1, max_denominator=40).filter(bool)
values = st.integers(1, 40) | shares


@given(st.lists(axes, min_size=1, max_size=3, unique=True), st.data())
def test_every_way_to_write_an_entry_reads_alike(names, data):
    size = {axis: data.draw(values) for axis in names}
    alone = [f"{axis}={written(value)}" for axis, value in size.items()]
    mixed = [part if data.draw(st.booleans()) else part.partition("=")[2] for part in alone]
    for text in (":".join(alone), ",".join(alone), ":".join(mixed)):
        assert read_one(text, names) == size
        assert {axis: type(value) for axis, value in read_one(text, names).items()} == {
            axis: Fraction if isinstance(value, Fraction) else int for axis, value in size.items()
        }
    assert read(f"tall={':'.join(mixed)}", names, named=True) == [("tall", size)]


@given(st.text(alphabet="dims=12/,: lay\n.", max_size=12))
def test_any_text_is_read_or_refused(text):
    for axes in ((), ("dims",), ("layers", "dims")):
        try:
            entries = read(text, axes, named=bool(axes))
        except SizeError:
            continue
        assert entries
        assert all(values for _, values in entries)
