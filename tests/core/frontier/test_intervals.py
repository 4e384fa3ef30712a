from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anysize.core.errors import AnysizeError
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.intervals import (
    correlation_pseudo_values,
    decimals,
    rank_correlation_pseudo_values,
    resampled_means,
    span,
    with_intervals,
)
from anysize.core.frontier.record import Record
from anysize.core.sizes.size import Size
from anysize.evaluation.correlation import paired_bootstrap, pearson, spearman

OLD = Path(__file__).parents[2] / "data" / "without-intervals.json"
NEGATIVE = OLD.with_name("with-negative-l0.json")


def plain_bootstrap(draws: int, count: int, statistic, seed: int = 5) -> tuple[float, float]:
    """As the books write it: draw, compute, take the quantiles."""
    rng = np.random.default_rng(seed)
    found = [statistic(rng.integers(count, size=count)) for _ in range(draws)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def close(found, expected, share=0.12) -> bool:
    """Ends that differ by less than a share of the width: both are drawn at random."""
    width = expected[1] - expected[0]
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) < share * width


@pytest.mark.parametrize("count", [30, 400, 5000])  # beyond 2048, means of groups are drawn
def test_the_interval_of_a_mean_is_that_of_a_plain_bootstrap(count):
    values = np.random.default_rng(0).beta(0.4, 0.6, count)
    found = span(resampled_means(values[:, None])[:, 0])
    assert close(found, plain_bootstrap(2000, count, lambda rows: values[rows].mean()))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("correlation", "pseudo"), [(pearson, correlation_pseudo_values), (spearman, rank_correlation_pseudo_values)]
)
def test_correlations_by_pseudo_values_have_the_interval_of_a_plain_bootstrap(correlation, pseudo, ties):
    rng = np.random.default_rng(3)
    gold = rng.standard_normal(600)
    scores = 0.8 * gold + 0.6 * rng.standard_normal(600)
    if ties:
        gold = np.round(gold)
    values = pseudo(scores, gold)
    assert values.mean() == pytest.approx(correlation(scores, gold), abs=1e-9)
    found = span(resampled_means(values[:, None])[:, 0])
    assert close(found, plain_bootstrap(600, 600, lambda rows: correlation(scores[rows], gold[rows])), 0.2)


def test_the_paired_interval_of_two_correlations_is_that_of_the_paired_bootstrap():
    rng = np.random.default_rng(4)
    gold, noise = rng.standard_normal((2, 500))
    first = gold + 0.6 * noise
    second = gold + 0.6 * noise + 0.25 * rng.standard_normal(500)
    expected = paired_bootstrap(first, second, gold, resamples=600)
    means = resampled_means(np.stack([rank_correlation_pseudo_values(x, gold) for x in (first, second)], axis=1))
    assert close(span(means[:, 0] - means[:, 1]), (expected.low, expected.high), 0.2)


def record(dims: int, values, arm: str = "nested", **more) -> Record:
    values = np.asarray(values, float)
    return Record(Size(dims=dims), arm, {"m": float(values.mean())}, 4 * dims, units={"m": values}, **more)


@pytest.fixture
def records() -> tuple[Record, ...]:
    """A rival that differs by little but always, one that differs by chance, and a size that loses."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 0.9, 200)
    return with_intervals(
        [
            record(8, hard * 0.5),
            record(16, hard),
            record(16, hard - 0.01, "worse"),
            record(16, hard + rng.normal(0, 0.2, 200), "alike"),
            record(32, hard, "original"),
        ]
    )


def test_differences_are_paired(records):
    small, full, worse, alike, _ = records
    assert full.intervals["m"][1] - full.intervals["m"][0] > 0.05
    assert worse.differences["m"]["nested dims=16"] == pytest.approx((-0.01, -0.01))
    assert not worse.same_within_noise(full, "m")
    assert alike.same_within_noise(full, "m")
    assert set(small.differences["m"]) == {"nested dims=16", "original dims=32"}
    low, high = small.differences["m"]["nested dims=16"]
    assert low < small.metrics["m"] - full.metrics["m"] < high < 0
    assert all(not one.units for one in records)


def test_a_frontier_keeps_its_intervals(records, tmp_path):
    whole = Frontier(records, "m", {"sampled": "200 queries"})
    whole.to_json(tmp_path / "f.json")
    assert Frontier.from_json(tmp_path / "f.json") == whole
    assert "units" not in (tmp_path / "f.json").read_text()


def test_a_frontier_of_an_earlier_version_still_loads_and_shows():
    old = Frontier.from_json(OLD)
    again = old.to_json()
    assert again.pop("area")["arms"]["nested"] == old.area()
    assert again == json.loads(OLD.read_text())
    assert old.metric == "ndcg@10"
    assert "±" not in old.table()
    assert old.said(old.cheapest(max_bytes=16)) == "dims=4: nDCG@10 .418, .409 below dims=16"


def test_an_l0_that_was_stored_as_a_negative_is_read_as_what_it_is():
    old, written = Frontier.from_json(NEGATIVE), json.loads(NEGATIVE.read_text())["records"]
    assert old.metric == "variance_explained"
    for record, before in zip(old.records, written, strict=True):
        assert record.metrics["l0"] == -before["metrics"]["-l0"] > 0
        assert record.metrics["variance_explained"] == before["metrics"]["explained_variance"]
        assert record.intervals["l0"] == tuple(-end for end in reversed(before["intervals"]["-l0"]))
        apart = before["differences"]["-l0"]
        assert record.differences["l0"] == {name: (-high, -low) for name, (low, high) in apart.items()}
    assert Frontier.from_json(old.to_json()) == old


def test_of_l0_less_is_better():
    active = {8: 3.0, 16: 6.0, 32: 5.0}
    records = [Record(Size(dims=dims), "nested", {"m": 0.5, "l0": l0}, 4 * dims) for dims, l0 in active.items()]
    frontier = Frontier(tuple(records), "l0")
    assert [record.size.dims for record in frontier.pareto()] == [8]
    assert frontier.cheapest(max_bytes=1000).size.dims == 8
    assert frontier.cheapest(within=0.25).size.dims == 8
    with pytest.raises(AnysizeError, match="no nested size that fits the budget reaches l0 5"):
        Frontier(tuple(records[1:]), "l0").cheapest(within=0, max_bytes=64)


def test_the_table_shows_intervals_and_what_cannot_be_told_apart(records):
    lines = Frontier(records, "m", {"sampled": "200 queries"}).table(within=0.02).splitlines()
    assert lines[0].split() == ["dims", "bytes", "m", "worse", "alike", "original"]
    value, half = lines[1].split()[2:]
    low, high = records[0].intervals["m"]
    assert float(value) == pytest.approx(records[0].metrics["m"], abs=1e-3)
    assert float(half.removeprefix("±")) == pytest.approx((high - low) / 2, abs=1e-3)
    assert lines[2].endswith("<- cheapest within 2 %")
    low, high = records[0].differences["m"]["nested dims=16"]
    marked = Frontier(records, "m").table(within=0.6).splitlines()[1]
    assert marked.endswith(f"<- cheapest within 60 % (loses {-high:.3f} to {-low:.3f})".replace("0.", "."))
    # Of the two rivals at 16, the one that is always a little worse is told apart; the one that is noise is not.
    cells = lines[2].partition("<-")[0].split()
    assert cells.index("~") == cells.index(f"{records[3].metrics['m']:.3f}".removeprefix("0")) + 1
    assert cells.count("~") == 1
    assert lines[-1] == (
        "  ± half of the 95 % interval over 200 queries; ~ not told apart from nested of that size (the paired "
        "interval holds 0)"
    )


def test_a_sentence_says_what_a_choice_loses_and_how_sure_that_is(records):
    said = Frontier(records, "m").said(records[0])
    low, high = (-end for end in reversed(records[0].differences["m"]["nested dims=16"]))
    assert f"below dims=16 ({low:.3f} to {high:.3f})".replace("0.", ".") in said
    same = with_intervals([record(8, [0.1, 0.4, 0.2] * 9), record(16, [0.2, 0.3, 0.2] * 9)])
    assert Frontier(same, "m").said(same[0]).endswith("the same within noise")


@pytest.mark.parametrize(("half", "expected"), [(0.2, 2), (0.031, 3), (0.0042, 4), (0.00042, 4), (0.0, 3), (7.0, 1)])
def test_digits_fit_the_interval(half, expected):
    assert decimals(0.5 - half, 0.5 + half) == expected


def test_times_that_are_noise_are_not_a_column(records):
    def table(times, spread):
        timed = [record(dims, [0.1, 0.2], ms=ms, ms_spread=spread) for dims, ms in zip((8, 16, 32), times, strict=True)]
        return Frontier(tuple(timed), "m").table()

    assert "ms/query" in table((0.11, 0.22, 0.44), 0.02).splitlines()[0]
    noise = table((0.28, 0.31, 0.25), 0.08)
    assert "ms/query" not in noise.splitlines()[0]
    assert noise.splitlines()[-1] == "  about 0.28 ms/query at every size: the differences are noise"


def test_a_metric_stored_as_a_negative_is_shown_as_it_is():
    records = [Record(Size(dims=8), "nested", {"m": 0.5, "-l0": -32.5}, 32)]
    lines = Frontier(tuple(records), "m").table(metric="-l0").splitlines()
    assert lines[0].split() == ["dims", "bytes", "L0"]
    assert lines[1].split() == ["8", "32", "32.500"]


def test_the_page_shows_intervals_notes_and_costs_as_they_are(records, tmp_path):
    some = [Record(Size(dims=64), "single", {"m": 0.5, "-l0": -32.5}, 256), *records]
    Frontier(tuple(some), "m", {"notes": ["read <this> first"]}).to_html(tmp_path / "f.html")
    text = (tmp_path / "f.html").read_text("utf-8")
    low, high = records[1].intervals["m"]
    assert f">{records[1].metrics['m']:.3f} ±{(high - low) / 2:.3f}<".replace("0.", ".") in text
    assert text.count('stroke-opacity=".55"') == 4  # the nested arm's sizes alone, in both drawings
    assert "read &lt;this&gt; first" in text
    assert "<button>L0</button>" in text
    assert '<td data-key="32.5">32.500</td>' in text


def test_the_picture_shades_the_interval_of_the_nested_arm(records):
    pytest.importorskip("matplotlib")
    from matplotlib.collections import PolyCollection

    from anysize.core.frontier.plot import picture

    found = picture(Frontier(records, "m")).findobj(PolyCollection)
    ends = sorted(end for record in records[:2] for end in record.intervals["m"])
    assert len(found) == 1
    heights = found[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((ends[0], ends[-1]))
    assert not picture(Frontier.from_json(OLD)).findobj(PolyCollection)
