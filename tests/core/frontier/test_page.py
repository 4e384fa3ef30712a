from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.page import page
from anysize.core.frontier.record import Record
from anysize.core.sizes.size import Size

EVIL = "</script><script>alert('x')</script>\"'&$title"
VOID = {"meta", "input", "br", "link", "img"}


class Outline(HTMLParser):
    """Fails on a tag that is not closed in order; keeps what the page would load and every text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open[-1:] == ["script"] else self.texts).append(data)


def outline(frontier: Frontier) -> Outline:
    found = Outline()
    found.feed(page(frontier))
    found.close()
    assert not found.open
    return found


@pytest.fixture
def frontier() -> Frontier:
    records = [
        Record(Size(dims=d), arm, {"ndcg@10": d / 100, EVIL: 0.5}, 4 * d, ms=None if arm == EVIL else d / 8)
        for arm in ("nested", EVIL)
        for d in (8, 16, 32)
    ]
    original = Record(Size(dims=64), "original", {"ndcg@10": 0.25}, 256)
    return Frontier((*records, original), "ndcg@10", {"task": EVIL, "model": EVIL})


def test_the_page_is_well_formed_and_loads_nothing(frontier):
    found = outline(frontier)
    text = page(frontier)
    assert found.loads == []
    assert not {"link", "img", "iframe", "object", "base"} & set(found.tags)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttpRequest", text.replace(EVIL, ""))
    assert "default-src 'none'" in text


def test_words_from_data_stay_words(frontier):
    found = outline(frontier)
    assert found.tags.count("script") == 2
    assert "".join(found.texts).count(EVIL) >= 5  # caption, name at the line's end, column head, rows
    assert not [name for name, _ in found.attributes if name.startswith("on") and name != "onsubmit"]


def test_a_metric_of_evil_name_stays_a_word(frontier):
    renamed = Frontier(frontier.records[:6], EVIL)
    assert outline(renamed).tags.count("script") == 2


def test_the_script_reads_every_record(frontier):
    value = json.loads(outline(frontier).scripts[0])
    assert [
        Record.from_json({k: v for k, v in one.items() if k not in ("name", "order")}) for one in value["records"]
    ] == list(frontier.records)
    assert value["records"][value["full"]]["name"] == "dims=32"
    assert value["arm"] == "nested"
    nested = [one["order"] for one in value["records"] if one["arm"] == "nested"]
    assert nested == sorted(nested)


def drawing(frontier, name):
    """One of the two drawings of the chart."""
    return re.search(rf'<svg class="{name}".*?</svg>', page(frontier), re.DOTALL)[0]


def test_every_record_has_a_row_and_a_dot_in_both_drawings(frontier):
    rows = [value for name, value in outline(frontier).attributes if name == "data-row"]
    assert sorted(rows) == sorted(3 * [str(row) for row in range(7)])
    for name in ("wide", "narrow"):
        assert len(re.findall('class="dot ', drawing(frontier, name))) == 7


@pytest.mark.parametrize(("name", "widest"), [("wide", 900), ("narrow", 390)])
def test_dots_stand_where_they_were_measured(frontier, name, widest):
    drawn = drawing(frontier, name)
    found = re.findall(r'class="dot [^"]*" data-row="(\d)" cx="([\d.]+)" cy="([\d.]+)"', drawn)
    assert all(0 < float(x) < widest for _, x, _ in found)
    assert f'viewBox="0 0 {widest} ' in drawn
    place = {int(row): (float(x), float(y)) for row, x, y in found}
    assert place[0][0] < place[1][0] < place[2][0] < place[6][0]
    assert place[1][0] - place[0][0] == pytest.approx(place[2][0] - place[1][0], abs=0.2)  # doubling is one step
    assert place[0][1] > place[1][1] > place[2][1]  # better is higher


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-7, 123456.0])
def test_one_record_of_any_value(value):
    frontier = Frontier((Record(Size(layers=2, dims=8), "only", {"m": value}, 32),), "m")
    outline(frontier)
    ticks = [float(one) for one in re.findall(r'text-anchor="end"[^>]*>([-\d.e+]+)</text>', page(frontier))]
    assert min(ticks) <= value <= max(ticks)
    assert max(ticks) - min(ticks) >= 0.1 * (abs(value) or 1)  # not a hair around it


def test_to_html_writes_the_page(frontier, tmp_path):
    frontier.to_html(tmp_path / "f.html")
    assert (tmp_path / "f.html").read_text("utf-8") == page(frontier)


@pytest.mark.parametrize(("metric", "best"), [("wer", "audio=1,video=2"), ("accuracy", "audio=2,video=1")], ids=str)
def test_what_is_better_lower_is_shaded_and_chosen_so(metric, best):
    values = {(1, 1): 0.4, (1, 2): 0.1, (2, 1): 0.9, (2, 2): 0.3}
    records = [Record(Size(audio=a, video=v), "nested", {metric: value}, a * v) for (a, v), value in values.items()]
    frontier = Frontier(tuple(records), metric)
    text = page(frontier)
    cells = {value: int(share) for share, value in re.findall(r'--share:(\d+)%">([.\d]+)<', text)}
    assert max(cells, key=cells.__getitem__) == f"{values[tuple(Size.parse(best).values())]:.3f}".lstrip("0")
    assert json.loads(outline(frontier).scripts[0])["lower"] == (metric == "wer")
    assert ("lower wer is better" in text) == (metric == "wer")
