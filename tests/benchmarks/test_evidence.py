from __future__ import annotations

import json
import statistics

import numpy as np
import pytest
from benchmarks.evidence import render, write_row

from anysize.core.errors import AnysizeError
from benchmarks import evidence


def row(results, name="mrl-quality", **changes):
    given = {
        "paper": "A paper",
        "claim": "small is | good",
        "reported": "76.8 at 8",
        "arms": ["nested", "pca"],
        "metric": "ndcg@10",
        "values": {
            "nested": {"dims=8": [0.5, 0.6, 0.7], "dims=16": [0.75]},
            "pca": {"dims=8": np.float32(0.25), "dims=16": [1, 2]},
        },
        "outcome": "won",
        "note": "Nested wins by .2 at 8 dims. It ties at 16.",
        "command": "python -m benchmarks.x",
        "data": "made up",
    }
    return write_row(name, results=results, **{**given, **changes})


@pytest.fixture(autouse=True)
def _fixed_surroundings(monkeypatch):
    monkeypatch.setattr(evidence, "hardware", lambda: {"cpu": "a cpu", "cores": 2})
    monkeypatch.setattr(evidence, "versions", lambda: {"python": "3"})


def test_a_row_holds_every_seed_with_mean_and_spread(tmp_path):
    found = json.loads(row(tmp_path / "new").read_text())
    assert found["values"]["nested"]["dims=8"] == [0.5, 0.6, 0.7]
    assert found["summary"]["nested"]["dims=8"] == {
        "mean": pytest.approx(0.6),
        "std": pytest.approx(statistics.stdev([0.5, 0.6, 0.7])),
        "seeds": 3,
    }
    assert found["summary"]["nested"]["dims=16"]["std"] == 0
    assert found["values"]["pca"]["dims=8"] == 0.25
    assert found["hardware"] == {"cpu": "a cpu", "cores": 2}
    assert len(found["date"]) == 10
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["mrl-quality.json"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Quality"}, "cannot name a row"),
        ({"name": "../x-y"}, "cannot name a row"),
        ({"outcome": "great"}, "'great' is not an outcome; expected one of won"),
        ({"values": {"a": {"b": [float("nan")]}}}, "mrl-quality a b is nan"),
        ({"values": {"a": {1, 2}}}, "mrl-quality a is set"),
    ],
)
def test_a_row_that_cannot_stand_is_refused(tmp_path, changes, message):
    with pytest.raises(AnysizeError, match=message):
        row(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_the_page_has_a_summary_and_a_table_by_size(tmp_path):
    row(tmp_path)
    lines = render(tmp_path).splitlines()
    summary = r"| [mrl](#mrl-quality) | small is \| good | 76.8 at 8 | **won** | Nested wins by .2 at 8 dims |"
    assert summary in lines
    assert "1 claims: 1 won." in lines
    start = lines.index("| size | nested | pca |")
    assert lines[start + 2 : start + 4] == [
        "| dims=8 | 0.600 ± 0.100 | 0.250 |",
        "| dims=16 | 0.750 | 1.500 ± 0.707 |",
    ]
    assert "- command: `python -m benchmarks.x`" in lines


def test_metrics_above_arms_become_headings_and_odd_figures_their_own_table(tmp_path):
    values = {
        "accuracy": {"nested": {"8": [0.5]}, "pca": {"16": [0.25]}},
        "goals": {"fast": True, "small": False},
        "rows": 1_000_000,
        "speed": {"ours": {"ms": 1.5, "words": "fine"}},
    }
    row(tmp_path, values=values)
    lines = render(tmp_path).splitlines()
    assert lines[lines.index("### accuracy") + 2 :][:4] == [
        "| size | nested | pca |",
        "|---|---:|---:|",
        "| 8 | 0.500 |  |",
        "| 16 |  | 0.250 |",
    ]
    assert "| rows | 1,000,000 |" in lines
    assert "| goals | yes | no |" in lines
    assert "| ours | 1.500 | fine |" in lines


def test_rows_come_in_the_order_of_their_names_and_the_page_is_the_same_each_time(tmp_path):
    row(tmp_path, "mrl-speed", outcome="lost")
    row(tmp_path, "csr-quality")
    text = render(tmp_path)
    assert text.index("## csr-quality") < text.index("## mrl-speed")
    assert "2 claims: 1 won, 1 lost." in text
    row(tmp_path, "csr-quality")
    assert render(tmp_path) == text


@pytest.mark.parametrize(("text", "message"), [("{", "bad-row.json is not a row"), ('{"name": "x"}', "it lacks paper")])
def test_a_file_that_is_no_row_is_named(tmp_path, text, message):
    (tmp_path / "bad-row.json").write_text(text)
    with pytest.raises(AnysizeError, match=message):
        render(tmp_path)


def test_what_the_machine_says_about_itself(monkeypatch):
    monkeypatch.undo()
    assert evidence.hardware()["cores"] >= 1
    assert evidence.hardware()["cpu"]
    assert evidence.versions()["numpy"] == np.__version__
