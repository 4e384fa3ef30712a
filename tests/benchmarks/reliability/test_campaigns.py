"""The campaigns of `benchmarks/reliability`, bounded: the same code, a fixed seed, and few trials of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TRIALS = {"kills": 12, "corruption": 40, "malice": 25, "arguments": 30, "crowds": 100, "interrupts": 4, "full_disk": 8}
"""Of each campaign; together they take about half a minute on one core."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """
    What was wrong, by campaign.

    A process of its own imports everything once and forks a child for each trial: this one has threads already.
    """
    scratch = tmp_path_factory.mktemp("reliability")
    file = scratch / "found.json"
    words = [sys.executable, "-m", "benchmarks.reliability", "--scratch", scratch / "artefacts", "--no-row",
             "--findings", file, "--trials", *(f"{name}={many}" for name, many in TRIALS.items())]  # fmt: skip
    done = subprocess.run(list(map(str, words)), cwd=ROOT, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(file.read_text())


@pytest.mark.parametrize("name", TRIALS)
def test_nothing_goes_wrong(found, name):
    assert found[name]["trials"] >= TRIALS[name]
    assert not found[name]["findings"], json.dumps(found[name]["findings"], indent=1)
