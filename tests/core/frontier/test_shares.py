"""Sizes that are shares of the whole go through a frontier as others do: order, table, JSON, page, picture, choice."""

import json

import pytest

import anysize as az
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.record import Record
from anysize.core.sizes.size import Size

KEPT = {("1/16", "1/5"): 0.5, ("1/16", "1/1"): 0.6, ("1/4", "1/5"): 0.7, ("1/4", "1/1"): 0.8}


@pytest.fixture
def frontier():
    records = [
        Record(Size(audio=audio, video=video), "nested", {"accuracy": value}, bytes=place + 1)
        for place, ((audio, video), value) in enumerate(KEPT.items())
    ]
    return Frontier(tuple(reversed(records)), metric="accuracy")


def test_they_are_kept_ordered_and_chosen(frontier):
    back = Frontier.from_json(json.loads(json.dumps(frontier.to_json())))
    assert back.records == frontier.records
    assert [record.size for record in back.arm("nested")] == [Size(audio=audio, video=video) for audio, video in KEPT]
    assert back.full().size == az.Size.parse("audio=1/4,video=1/1")
    assert str(back.cheapest(within=0.2).size) == "audio=1/4,video=1/5"


def test_they_are_shown_as_they_are_typed(frontier, tmp_path):
    rows = [line.split()[:2] for line in frontier.table().splitlines()]
    assert rows[:5] == [["audio", "video"], *map(list, KEPT)]
    frontier.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<th>1/16</th>" in page
    assert "<th>1/1</th>" in page
    assert "audio=1/16,video=1/5" in page
    frontier.plot(tmp_path / "plot.svg", chosen=Size(audio="1/4", video="1/1"))
    assert (tmp_path / "plot.svg").stat().st_size > 1000
