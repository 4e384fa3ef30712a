from __future__ import annotations

import json
import re
import statistics

import numpy as np
import pytest
from benchmarks.evidence import write_row
from benchmarks.pages import pages

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


def test_there_is_a_summary_of_all_and_a_page_by_system_with_a_table_by_size(tmp_path):
    row(tmp_path)
    found = pages(tmp_path)
    assert list(found) == ["evidence.md", "evidence/mrl.md"]
    lines = found["evidence.md"].splitlines()
    link = "[mrl](evidence/mrl.md#mrl-quality)"
    assert rf"| {link} | small is \| good | 76.8 at 8 | **won** | Nested wins by .2 at 8 dims |" in lines
    assert "1 claims: 1 won." in lines
    lines = found["evidence/mrl.md"].splitlines()
    assert "## mrl-quality" in lines
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
    lines = pages(tmp_path)["evidence/mrl.md"].splitlines()
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
    for name, outcome in [("mrl-speed", "lost"), ("mrl-quality", "won"), ("matryoshka-sae-speed", "won")]:
        row(tmp_path, name, outcome=outcome)
    found = pages(tmp_path)
    assert list(found) == ["evidence.md", "evidence/matryoshka-sae.md", "evidence/mrl.md"]
    assert found["evidence/mrl.md"].index("## mrl-quality") < found["evidence/mrl.md"].index("## mrl-speed")
    assert "3 claims: 2 won, 1 lost." in found["evidence.md"]
    row(tmp_path, "mrl-quality")
    assert pages(tmp_path) == found


@pytest.mark.parametrize(
    ("note", "shown"),
    [
        ("At 4 +0.7 (spread 0.3; 5 seeds); at 8 +0.2. It is slow.", "At 4 +0.7 (spread 0.3; 5 seeds); at 8 +0.2"),
        ("One part (all. told); " + "x" * 300 + ". Two.", "One part (all. told)"),
        ("x" * 400 + "; more. Two.", "x" * 400),
    ],
    ids=["whole sentence", "long sentence", "long part"],
)
def test_the_summary_cuts_a_note_between_its_parts_and_inside_no_bracket(tmp_path, note, shown):
    row(tmp_path, note=note)
    assert f"| **won** | {shown} |" in pages(tmp_path)["evidence.md"]


def test_the_rendered_pages_are_those_of_the_results_and_each_link_leads_to_a_heading():
    """What is committed is what `make evidence` makes now, and nothing else is left from before."""
    found = pages(evidence.RESULTS)
    for name, text in found.items():
        assert (evidence.DOCS / name).read_text("utf-8") == text, "run: make evidence"
    assert {f"evidence/{file.name}" for file in (evidence.DOCS / "evidence").iterdir()} == found.keys() - {
        "evidence.md"
    }
    for page, anchor in re.findall(r"\(([\w/.-]+)#([\w-]+)\)", found["evidence.md"]):
        headings = [re.sub(r"[^a-z0-9-]", "", line[3:]) for line in found[page].splitlines() if line.startswith("## ")]
        assert anchor in headings


@pytest.mark.parametrize(("text", "message"), [("{", "bad-row.json is not a row"), ('{"name": "x"}', "it lacks paper")])
def test_a_file_that_is_no_row_is_named(tmp_path, text, message):
    (tmp_path / "bad-row.json").write_text(text)
    with pytest.raises(AnysizeError, match=message):
        pages(tmp_path)


def test_what_the_machine_says_about_itself(monkeypatch):
    monkeypatch.undo()
    assert evidence.hardware()["cores"] >= 1
    assert evidence.hardware()["cpu"]
    assert evidence.versions()["numpy"] == np.__version__
