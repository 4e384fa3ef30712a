import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.search import Stage, default_stages, multiply_adds
from anysize.search.asking.stages import check_stages

NESTING = Nesting(dims=(8, 16, 32, 64, 128, 384))


def test_a_stage_reads_as_it_is_typed():
    assert Stage.parse_all("dims=64:200, dims=384") == (Stage(64, 200), Stage(384))
    assert str(Stage(64, 200)) == "dims=64:200"
    assert str(Stage(384)) == "dims=384"


@given(st.integers(1, 4096), st.one_of(st.none(), st.integers(1, 10**6)))
def test_printing_and_parsing_a_stage_are_inverse(dims, keep):
    assert Stage.parse(str(Stage(dims, keep))) == Stage(dims, keep)


@pytest.mark.parametrize("text", ["", "64:200", "layers=3", "dims=64:", "dims=64:-1", "dims=x", "dims=64:200:1"])
def test_unreadable_stages_are_refused_with_an_example(text):
    with pytest.raises(SizeError, match="dims=64:200"):
        Stage.parse(text)


@pytest.mark.parametrize("values", [(0, 5), (8, 0), (8, True), (8.0, 3)])
def test_stages_are_positive_whole_numbers(values):
    with pytest.raises(SizeError, match="whole number"):
        Stage(*values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dims=100:50,dims=384", "between 64 and 128"),
        ("dims=64:50", "add dims=384"),
        ("dims=128:50,dims=64:20,dims=384", "must grow"),
        ("dims=64:50,dims=128:60,dims=384", "cannot grow"),
        ("dims=64,dims=384", "only the last stage"),
        ("dims=64:5,dims=384", "fewer items than the 10 hits"),
    ],
)
def test_bad_funnels_are_refused_by_name(text, message):
    with pytest.raises(AnysizeError, match=message):
        check_stages(Stage.parse_all(text), NESTING, 10)


def test_no_stages_are_refused():
    with pytest.raises(AnysizeError, match="at least one stage"):
        check_stages((), NESTING, 10)


@given(
    st.lists(st.integers(1, 2048), min_size=1, max_size=8, unique=True).map(sorted),
    st.integers(0, 10**7),
    st.integers(1, 1000),
)
def test_default_stages_are_always_a_valid_plan(levels, count, k):
    nesting = Nesting(dims=levels)
    plan = default_stages(nesting, count, k)
    assert check_stages(plan, nesting, k) == plan


def test_default_plan_is_exact_for_a_small_corpus_and_a_funnel_for_a_large_one():
    assert default_stages(NESTING, 900, 10) == (Stage(384),)
    first, last = default_stages(NESTING, 1_000_000, 10)
    assert (first.dims, last) == (128, Stage(384))
    assert {default_stages(NESTING, 1_000_000, k) for k in (1, 10, 99, 100)} == {(first, last)}  # one shortlist


def test_cost_is_counted_as_in_the_paper():
    # ImageNet-1K, D_s = 16, K = 200, D_r = 2048: 2.05e7 + 4.1e5 multiply-adds.
    assert multiply_adds(1_281_167, [Stage(16, 200), Stage(2048)]) == 1_281_167 * 16 + 200 * 2048
    funnel = [Stage(8, 200), Stage(16, 100), Stage(32, 50), Stage(2048)]
    assert multiply_adds(1000, funnel) == 1000 * 8 + 200 * 16 + 100 * 32 + 50 * 2048
