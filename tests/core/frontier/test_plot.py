from __future__ import annotations

import subprocess
import sys

import pytest

from anysize.core.errors import AnysizeError
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.record import Record
from anysize.core.sizes.size import Size

pytest.importorskip("matplotlib")

from anysize.core.frontier.page import page
from anysize.core.frontier.plot import picture
from anysize.core.frontier.style import apart


def frontier_of(*arms: str, dims=(8, 16, 32), **more) -> Frontier:
    records = [
        Record(Size(dims=d), arm, {"ndcg@10": 0.1 * place + d / 100}, 4 * d, **more)
        for place, arm in enumerate(arms)
        for d in dims
    ]
    return Frontier((*records, Record(Size(dims=64), "original", {"ndcg@10": 0.3}, 256)), "ndcg@10", {"task": "a test"})


def words(figure) -> list[str]:
    axes = figure.axes[0]
    return [text.get_text() for text in (*axes.texts, *figure.texts, *axes.get_xticklabels(), axes.xaxis.label)]


def test_every_arm_is_drawn_where_it_was_measured_and_named():
    figure = picture(frontier_of("nested", "pca", "truncate"), chosen=Size(dims=16))
    lines = {tuple(line.get_xdata()): None for line in figure.axes[0].lines}
    assert (32, 64, 128) in lines
    drawn = words(figure)
    for word in (
        "nested",
        "pca",
        "truncate",
        "original, dims=64",
        "dims=16\n.160, 2x smaller",
        "nDCG@10 at every size",
    ):
        assert word in drawn
    assert "dims=16\n.160, 2x smaller" in drawn
    assert "a test" in drawn
    assert "16\n64 B" in drawn
    assert "dims / bytes per item" in drawn


def test_the_same_bytes_everywhere_are_drawn_against_another_cost():
    records = [Record(Size(layers=n), "nested", {"m": n / 10}, 256, parameters=n * 10**6) for n in (2, 4, 6)]
    figure = picture(Frontier(tuple(records), "m"), chosen=Size(layers=2))
    assert list(figure.axes[0].lines[0].get_xdata()) == [2e6, 4e6, 6e6]
    assert "2\n2M" in words(figure)


def test_of_several_axes_only_unbeaten_sizes_are_joined():
    grid = [Record(Size(layers=n, dims=d), "nested", {"m": n * d / 999}, 4 * d) for n in (2, 4) for d in (8, 16)]
    joined = [tuple(line.get_ydata()) for line in picture(Frontier(tuple(grid), "m")).axes[1].lines]
    assert (32 / 999, 64 / 999) in joined


def test_spread_over_seeds_is_a_band():
    assert not picture(frontier_of("nested")).axes[0].collections
    assert picture(frontier_of("nested", spread={"ndcg@10": 0.02})).axes[0].collections


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot_writes_what_the_suffix_says(tmp_path, suffix):
    file = tmp_path / f"f.{suffix}"
    frontier_of("nested", "a <b> & $\\c$").plot(file)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert file.read_bytes().startswith(start)


def test_one_record_can_be_drawn(tmp_path):
    Frontier((Record(Size(dims=8), "nested", {"m": 0.0}, 32),), "m").plot(tmp_path / "f.png", chosen=Size(dims=8))


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(AnysizeError, match=r"f\.xyz; name a file that ends in"):
        frontier_of("nested").plot(tmp_path / "f.xyz")
    with pytest.raises(AnysizeError, match="dims=9 is not in the nested arm"):
        frontier_of("nested").plot(tmp_path / "f.png", chosen=Size(dims=9))
    assert not list(tmp_path.iterdir())


def test_no_global_state_of_matplotlib_is_touched(tmp_path):
    script = (
        "import sys; from anysize.core.frontier.frontier import *; from anysize.core.sizes.nesting import Size; "
        f"Frontier((Record(Size(dims=8), 'nested', {{'m': 0.5}}, 32),), 'm').plot({str(tmp_path / 'f.png')!r}); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_crowded_names_are_spread_around_where_they_belong():
    assert apart([1.0, 1.0, 5.0], 0.5) == pytest.approx([0.75, 1.25, 5.0])
    assert apart([1.0, 1.6, 1.8], 0.5) == pytest.approx([0.967, 1.467, 1.967], abs=1e-3)


def grid(cells):
    records = [
        Record(Size(layers=layers, dims=dims), "nested", {"ndcg@10": value}, 4 * dims, ms=float(layers))
        for (layers, dims), value in cells.items()
    ]
    return Frontier(tuple(records), "ndcg@10")


def test_two_axes_are_drawn_as_cells_beside_what_no_size_beats(tmp_path):
    frontier = grid({(1, 8): 0.25, (1, 16): 0.5, (2, 8): 0.375, (2, 16): 0.625})
    figure = picture(frontier, chosen=Size(layers=1, dims=16))
    cells, times = ({text.get_text() for text in axes.texts} for axes in figure.axes)
    assert cells == {".250", ".375", ".500", ".625"}
    assert {"1:16", "2:16"} <= times
    assert "2:8" not in times, "two layers at 8 dims are beaten by one layer at 16"
    frontier.plot(tmp_path / "grid.png", chosen=Size(layers=1, dims=16))
    assert (tmp_path / "grid.png").stat().st_size > 10_000
    with pytest.raises(AnysizeError, match="cannot be marked"):
        frontier.plot(tmp_path / "grid.png", chosen=Size(layers=3, dims=8))


def test_a_menu_leaves_the_other_cells_empty(tmp_path):
    frontier = grid({(1, 8): 0.25, (2, 16): 0.625})
    frontier.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    cells = page[page.index('<table class="cells">') : page.index("</table>")]
    assert ".250</td>" in cells
    assert cells.count("<td></td>") == 2
    one_axis = Frontier(tuple(Record(Size(dims=d), "nested", {"m": d / 100}, 4 * d) for d in (8, 16)), "m")
    one_axis.to_html(tmp_path / "one.html")
    assert 'class="cells"' not in (tmp_path / "one.html").read_text("utf-8")


def test_sizes_of_nearly_one_cost_are_drawn_over_themselves():
    records = [Record(Size(windows=n), "nested", {"m": n / 10}, 0, parameters=10**6 + n) for n in (1, 2, 4)]
    records.append(Record(Size(windows=4), "ft", {"m": 0.3}, 0, parameters=2 * 10**6))
    frontier = Frontier(tuple(records), "m")
    figure = picture(frontier, chosen=Size(windows=2))
    assert sorted(list(line.get_xdata()) for line in figure.axes[0].lines[:2]) == [[1, 2, 4], [4]]
    assert "windows" in words(figure)
    assert "1M" not in str(words(figure))
    assert "Size, on a logarithmic scale" in page(frontier)
