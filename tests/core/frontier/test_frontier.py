from __future__ import annotations

import json

import numpy as np
import pytest

from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.record import Record
from anysize.core.sizes.size import Size

NESTED = {32: (0.326, 0.9), 64: (0.444, 1.3), 128: (0.512, 2.2), 384: (0.545, 6.1)}
TRUNCATED = {32: 0.231, 64: 0.356, 128: 0.419, 384: 0.472}


def record(dims: int, value: float, arm: str = "nested", ms: float | None = None, **more) -> Record:
    return Record(Size(dims=dims), arm, {"ndcg@10": value, **more.pop("metrics", {})}, 4 * dims, ms, **more)


@pytest.fixture
def frontier() -> Frontier:
    nested = [record(dims, value, ms=ms) for dims, (value, ms) in NESTED.items()]
    truncated = [record(dims, value, "truncate") for dims, value in TRUNCATED.items()]
    return Frontier((*truncated, record(384, 0.472, "original"), *nested), "ndcg@10", {"data": "docs"})


@pytest.mark.parametrize(
    ("demand", "dims"),
    [
        ({"within": 0.07}, 128),
        ({"within": 0.0}, 384),
        ({"within": 0.01}, 384),
        ({"within": 0.2}, 64),
        ({"as_good_as": "original"}, 128),
        ({"as_good_as": "truncate"}, 128),
        ({"max_bytes": 512}, 128),
        ({"max_bytes": 511}, 64),
        ({"max_ms": 1.3}, 64),
        ({"max_bytes": 512, "max_ms": 1.0}, 32),
        ({"within": 0.2, "max_bytes": 4000}, 64),
        ({"within": 0.2, "as_good_as": "original"}, 128),
        ({"max_bytes": 300, "arm": "truncate"}, 64),
    ],
)
def test_cheapest(frontier, demand, dims):
    found = frontier.cheapest(**demand)
    assert (found.size, found.arm) == (Size(dims=dims), demand.get("arm", "nested"))


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        ({}, "say what to choose by"),
        ({"within": 1.5}, "from 0 to below 1; got 1.5"),
        ({"max_bytes": 100}, "costs 100 bytes or less; the nearest is dims=32 with 128"),
        ({"max_ms": 0.5}, "costs 0.5 ms per query or less; the nearest is dims=32 with 0.9"),
        ({"max_bytes": 600, "max_ms": 0.1}, "no nested size of those left costs 0.1 ms"),
        (
            {"within": 0.01, "max_bytes": 512},
            "that fits the budget reaches .* the nearest is dims=128 with 0.512 at 512",
        ),
        ({"as_good_as": "pca"}, "no arm 'pca'; it has nested, truncate, original"),
        ({"within": 0.1, "metric": "mrr@10"}, "no metric 'mrr@10'; it has ndcg@10"),
        ({"max_ms": 3, "arm": "truncate"}, "the ms of truncate at dims=32 was not measured"),
    ],
)
def test_cheapest_refuses_naming_the_nearest(frontier, demand, message):
    with pytest.raises(AnysizeError, match=message):
        frontier.cheapest(**demand)


def test_cheapest_within_of_a_negative_metric_does_not_ask_for_more_than_the_full_size():
    negative_errors = Frontier(tuple(record(dims, -1.0 - 8 / dims) for dims in (8, 80, 800)), "ndcg@10")
    assert negative_errors.cheapest(within=0.1).size.dims == 80


def test_a_smaller_size_that_beats_the_full_one_does_not_move_the_bar():
    bump = Frontier((record(8, 0.5), record(16, 0.9), record(32, 0.6)), "ndcg@10")
    assert bump.cheapest(within=0.2).size.dims == 8
    assert bump.cheapest(max_bytes=999).size.dims == 16


def test_equal_quality_takes_the_cheaper_and_equal_bytes_the_fewer_flops():
    layers = [Record(Size(layers=n), "nested", {"ndcg@10": 0.5}, 256, flops=n * 100) for n in (6, 2, 4)]
    flat = Frontier(tuple(layers), "ndcg@10")
    assert flat.cheapest(max_bytes=256).size == flat.cheapest(within=0.0).size == Size(layers=2)


def test_full_is_the_size_that_contains_the_others():
    grid = [Record(Size(layers=n, dims=d), "nested", {"ndcg@10": 0.1}, 4 * d) for d in (8, 16) for n in (4, 2)]
    assert Frontier(tuple(grid), "ndcg@10").full().size == Size(layers=4, dims=16)


def test_pareto_leaves_out_what_is_beaten_at_equal_or_lower_cost():
    records = (record(8, 0.3), record(16, 0.2), record(32, 0.5), record(64, 0.5))
    assert [one.size.dims for one in Frontier(records, "ndcg@10").pareto()] == [8, 32]


def test_pareto_by_time(frontier):
    assert [one.size.dims for one in frontier.pareto(cost="ms")] == [32, 64, 128, 384]
    with pytest.raises(AnysizeError, match="cost is 'energy'"):
        frontier.pareto(cost="energy")


def test_table_reads_as_promised(frontier):
    assert frontier.table(within=0.07).splitlines() == [
        "  dims   bytes   ms/query   nDCG@10   truncate   original",
        "    32     128        0.9      .326       .231",
        "    64     256        1.3      .444       .356",
        "   128     512        2.2      .512       .419              <- cheapest within 7 %",
        "   384    1536        6.1      .545       .472       .472",
        "  area under the curve over bytes per item, 1 for no loss at any size: nested .870, truncate .710",
    ]


def test_table_without_times_of_another_metric():
    some = (record(8, 0.3, metrics={"loss": -12.5}), record(16, 0.4, "single"))
    lines = Frontier(some, "ndcg@10").table(metric="loss").splitlines()
    assert [line.split() for line in lines] == [
        ["dims", "bytes", "loss", "single"],
        ["8", "32", "-12.500"],
        ["16", "64"],
    ]


def test_json_round_trip_is_exact(frontier, tmp_path):
    rich = Record(Size(layers=2, dims=8), "single", {"ndcg@10": 0.1}, 32, None, 7, 9, {"ndcg@10": 0.01})
    whole = Frontier((*frontier.records, rich), "ndcg@10", {"data": "é"})
    assert whole.to_json(tmp_path / "f.json")["records"][0]["size"] == {"dims": 32}
    assert Frontier.from_json(tmp_path / "f.json") == whole == Frontier.from_json(whole.to_json())


@pytest.mark.parametrize(
    "text", ['{"records": []}', '{"records": [{"size": {"dims": 0}}], "metric": "m"}', "[1]", "nope"]
)
def test_a_file_that_is_no_frontier_is_refused_by_name(tmp_path, text):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"other\.json"):
        Frontier.from_json(tmp_path / "other.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_is_refused(value):
    with pytest.raises(AnysizeError, match="ndcg@10 of nested at dims=8"):
        record(8, value)


def test_a_size_twice_in_an_arm_is_refused():
    with pytest.raises(AnysizeError, match="two records of nested at dims=8"):
        Frontier((record(8, 0.1), record(8, 0.2)), "ndcg@10")


@pytest.mark.parametrize("change", [
    {"bytes": "32"}, {"bytes": None}, {"bytes": -1}, {"bytes": float("nan")}, {"bytes": True}, {"ms": "1"},
    {"ms": float("inf")}, {"flops": [1]}, {"parameters": -5}, {"metrics": {"q": "high"}}, {"metrics": {"q": None}},
    {"metrics": []}, {"metrics": {"q": 10**400}}, {"size": {"dims": "8"}}, {"size": []}, {"size": {}}, {"more": 1},
])  # fmt: skip
def test_a_record_that_cannot_be_is_refused(tmp_path, change):
    record = Record(Size(dims=8), "nested", {"q": 0.5}, 32).to_json()
    value = {"records": [{**record, **change}], "metric": "q", "meta": {}}
    (tmp_path / "f.json").write_text(json.dumps(value))
    for source in (tmp_path / "f.json", value):
        with pytest.raises(CheckpointError, match="is not a frontier") as refused:
            Frontier.from_json(source)
        assert "\n" not in str(refused.value)


def test_a_frontier_that_was_altered_is_refused(tmp_path):
    frontier = Frontier((Record(Size(dims=8), "nested", {"q": 0.5}, 32),), "q")
    frontier.to_json(tmp_path / "f.json")
    assert Frontier.from_json(tmp_path / "f.json") == frontier
    text = (tmp_path / "f.json").read_text()
    (tmp_path / "f.json").write_text(text.replace("0.5", "0.7"))
    with pytest.raises(CheckpointError, match=r"f\.json was altered"):
        Frontier.from_json(tmp_path / "f.json")
    (tmp_path / "f.json").write_text(json.dumps(frontier.to_json()))  # as before, and as others may write it
    assert Frontier.from_json(tmp_path / "f.json") == frontier


def test_the_area_is_that_of_a_plain_integral_and_tells_arms_apart():
    values = {"nested": {8: 0.4, 16: 0.3, 32: 0.7, 128: 0.8}, "cut": {8: 0.1, 16: 0.2, 32: 0.4, 128: 0.8}}
    records = [
        Record(Size(dims=dims), arm, {"m": value}, 4 * dims)
        for arm, found in values.items()
        for dims, value in found.items()
    ]
    frontier = Frontier((*records, Record(Size(dims=64), "original", {"m": 0.9}, 256)), "m")
    x = np.linspace(3, 7, 400_001)
    for arm, found in values.items():
        best = np.maximum.accumulate(list(found.values()))
        plain = np.interp(x, np.log2(list(found)), best).mean() / 0.8
        assert frontier.area(arm) == pytest.approx(plain, abs=1e-5)
    assert frontier.area("nested") > frontier.area("cut")
    flat = [Record(Size(dims=dims), "nested", {"m": 0.5}, 4 * dims) for dims in (2, 4, 64)]
    assert Frontier(tuple(flat), "m").area() == pytest.approx(1)
    assert frontier.to_json()["area"] == {
        "cost": "bytes",
        "arms": {"nested": frontier.area("nested"), "cut": frontier.area("cut")},
    }
    assert Frontier.from_json(frontier.to_json()) == frontier
    foot = frontier.table().splitlines()[-1]
    assert foot.startswith("  area under the curve over bytes per item")
    assert foot.endswith(f": nested {frontier.area():.3f}, cut {frontier.area('cut'):.3f}".replace("0.", "."))


def test_what_has_no_area_says_why():
    def at(value, size=4, metric="m"):
        return Record(Size(dims=size), "nested", {metric: value}, 4 * size)

    for records, metric, why in (
        ((at(-2.0), at(-1.0, 8)), "m", "m is -1 at dims=8"),
        ((at(2.0, metric="l0"), at(1.0, 8, "l0")), "l0", "l0 is 1 at dims=8"),
        ((at(0.5),), "m", "do not differ in bytes"),
    ):
        frontier = Frontier(records, metric)
        with pytest.raises(AnysizeError, match=why):
            frontier.area()
        assert "area" not in frontier.to_json()
        assert "area" not in frontier.table()


def test_sizes_come_by_the_nested_cost_whatever_a_rival_of_that_size_costs():
    cheap = Record(Size(dims=384), "tf-idf", {"ndcg@10": 0.4}, 1, None)
    frontier = Frontier((cheap, record(64, 0.44), record(384, 0.55)), "ndcg@10", {"data": "docs"})
    assert [line.split()[0] for line in frontier.table().splitlines()[1:3]] == ["64", "384"]
