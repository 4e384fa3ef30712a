from __future__ import annotations

import json
import subprocess
import sys

import pytest

from anysize.cli.parsing import parse
from anysize.cli.verbs.choose import Choose, bytes_of, why
from anysize.core.errors import AnysizeError
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.record import Record
from anysize.core.frontier.tolerance import tolerance, usual
from anysize.core.sizes.size import Size


@pytest.fixture
def measured(tmp_path):
    values = {32: 0.3, 64: 0.4, 128: 0.5}
    records = [
        Record(Size(dims=dims), "nested", {"ndcg@10": value, "mrr@10": 0.2}, 4 * dims, ms=dims / 32)
        for dims, value in values.items()
    ]
    original = Record(Size(dims=128), "original", {"ndcg@10": 0.35}, 512)
    Frontier((*records, original), "ndcg@10").to_json(tmp_path / "frontier.json")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["--within", "20%"], "dims=64"),
        (["--within", "0.01"], "dims=128"),
        (["--within", "1%", "--metric", "mrr@10"], "dims=32"),
        (["--as-good-as", "original"], "dims=64"),
        (["--max-bytes", "300"], "dims=64"),
        (["--max-bytes", "0.5KiB"], "dims=128"),
        (["--max-ms", "1"], "dims=32"),
    ],
)
@pytest.mark.parametrize("place", ["", "frontier.json"])
def test_choose_as_typed(measured, words, size, place):
    chosen = parse(Choose, [str(measured / place), *words], prog="anysize choose")[0].run()
    assert chosen.text() == size
    assert chosen.to_json()["size"] == {"dims": Size.parse(size).dims}


def test_why_it_was_chosen_is_said_on_a_terminal_and_in_json_but_not_to_other_programs(anysize, measured, monkeypatch):
    words = ("choose", measured, "--within", "20%")
    assert anysize(*words).out == "dims=64\n"
    assert anysize(*words, "--json").json["why"] == "keeps 80.0 %, 2.0 times fewer bytes"
    assert anysize("choose", measured, "--within", "1%", "--json").json["why"] == "the full size"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert anysize(*words).out == "dims=64: keeps 80.0 %, 2.0 times fewer bytes\n"


def test_a_loss_of_what_is_not_above_zero_is_no_share():
    records = [Record(Size(layers=n), "nested", {"score": n - 7.0}, 8, parameters=100 * n) for n in (2, 6)]
    frontier = Frontier(tuple(records), "score")
    assert why(frontier, frontier.records[0]) == "score -5.000 of -1.000, 3.0 times fewer parameters"


def test_what_is_better_lower_is_not_kept():
    records = [Record(Size(active=n), "nested", {"l0": float(n)}, 8 * n) for n in (8, 32)]
    frontier = Frontier(tuple(records), "l0")
    assert why(frontier, frontier.records[0]) == "l0 8.000 of 32.000, 4.0 times fewer bytes"


def test_times_that_are_the_same_within_noise_are_said_to_be(anysize, tmp_path):
    spreads = {32: (0.30, 0.05), 64: (0.32, 0.02), 128: (0.33, 0.01), 256: (0.36, 0.04), 384: (0.9, 0.5)}
    records = [
        Record(Size(dims=dims), "nested", {"ndcg@10": dims / 1000}, 4 * dims, ms=ms, ms_spread=spread)
        for dims, (ms, spread) in spreads.items()
    ]
    Frontier(tuple(records), "ndcg@10").to_json(tmp_path / "frontier.json")
    said = anysize("choose", tmp_path, "--max-ms", "0.31")
    assert said.out == "dims=32\n"
    assert "note: dims=64 (0.32 ms), dims=128 (0.33 ms): above 0.31 ms, and in time the same within noise" in said.err
    for words in (["--max-ms", "0.5"], ["--max-bytes", "128"]):
        assert "above" not in anysize("choose", tmp_path, *words).err


def test_what_was_not_measured_says_so(tmp_path):
    with pytest.raises(AnysizeError, match="has not been measured; run: anysize measure"):
        Choose(tmp_path, within="1%").run()
    with pytest.raises(AnysizeError, match="does not exist"):
        Choose(tmp_path / "none.json", within="1%").run()


def test_no_demand_is_refused(measured):
    with pytest.raises(AnysizeError, match="--within, --as-good-as, --max-bytes or --max-ms"):
        Choose(measured).run()


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.01", 0.01), (" 7 % ", 0.07), ("0", 0.0), (".5%", 0.005)])
def test_tolerance(text, share):
    assert tolerance(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["100%", "1", "-1%", "one", "1%%", "nan", ""])
def test_not_a_fraction(text):
    with pytest.raises(AnysizeError, match="is not a share"):
        tolerance(text)


def test_a_metric_in_decibels_may_lose_so_many_of_them():
    sizes = {8: -3.0, 16: -1.4, 32: -1.0}
    records = [Record(Size(beams=k), "nested", {"gap_db": gap, "se": 5 + gap}, k) for k, gap in sizes.items()]
    frontier = Frontier(tuple(records), "gap_db")
    assert frontier.cheapest(within=tolerance("0.5dB")).size.beams == 16
    assert frontier.cheapest(within=tolerance("2.0 db")).size.beams == 8
    assert frontier.cheapest(within=0.5).size.beams == 16  # a half of 1 dB, by the value's size
    assert "<- cheapest within 0.5 dB" in frontier.table(within=usual("gap_db"))
    with pytest.raises(AnysizeError, match="se is not in dB"):
        frontier.cheapest(within=tolerance("1dB"), metric="se")


@pytest.mark.parametrize(("text", "count"), [("256", 256), ("8KB", 8000), ("8 kib", 8192), ("1.5MB", 1_500_000)])
def test_bytes_of(text, count):
    assert bytes_of(text) == count


@pytest.mark.parametrize("text", ["0", "-4", "8GBB", "many", "0.2"])
def test_not_bytes(text):
    with pytest.raises(AnysizeError, match="is not a number of bytes"):
        bytes_of(text)


def test_json_on_the_command_line_is_the_record_alone_and_needs_no_torch(measured):
    script = (
        "import sys; from anysize.cli.main import run; "
        f"status = run(['choose', {str(measured)!r}, '--within', '20%', '--json']); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["bytes"] == 256
