from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysize.core.errors import AnysizeError
from anysize.evaluation import neighbourhoods
from anysize.evaluation.neighbourhoods import kept, nearest_others


def plain(rows, asked, k):
    """All cosines at once, in float64, ordered by score and then by place."""
    unit = rows.astype(float)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-30)
    scores = unit[asked] @ unit.T
    scores[np.arange(len(asked)), asked] = -np.inf
    return np.stack([np.lexsort((np.arange(len(rows)), -np.round(row, 6)))[:k] for row in scores])


@given(st.integers(0, 50), st.sampled_from([1, 3, 10]), st.sampled_from([5, 64, 4096]))
def test_blocks_find_what_one_look_finds(seed, k, most):
    rng = np.random.default_rng(seed)
    rows = np.round(rng.standard_normal((rng.integers(12, 900), 6)) * 2).astype(np.float32)  # with equal rows and zeros
    asked = np.sort(rng.permutation(len(rows))[:9])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbourhoods, "_SCORES_AT_ONCE", most)
        found = nearest_others(rows, lambda block: block, asked, k)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    scores = np.take_along_axis(unit[asked] @ unit.T, found, axis=1)
    expected = np.take_along_axis(unit[asked] @ unit.T, plain(rows, asked, k), axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert all(row not in places and len(set(places)) == k for row, places in zip(asked, found, strict=True))


def test_equal_rows_come_in_their_order():
    rows = np.repeat(np.eye(2, dtype=np.float32), 600, axis=0)
    found = nearest_others(rows, lambda block: block, np.array([5, 700]), 4)
    assert found.tolist() == [[0, 1, 2, 3], [600, 601, 602, 603]]


def test_what_is_kept():
    before, after = np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.array([[4, 9, 1, 0], [8, 7, 6, 5]])
    assert kept(before, after).tolist() == [0.5, 1.0]


def test_too_few_rows():
    with pytest.raises(AnysizeError, match="10 rows; expected more than k=10"):
        nearest_others(np.ones((10, 2), np.float32), lambda block: block, np.array([0]), 10)


MEASURE = """
import resource, sys
import torch
from anysize.core.verbs.measure import measure
from anysize.core.sizes.nesting import Nesting
from anysize.text.embedder.model import Embedder

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

few = {"arms": ["pca"], "by": "neighbours", "sample": 50}  # they take less time, and as much memory for the rows
model = Embedder(Nesting(dims=(64,)), 64, weight=torch.eye(64))
measure(model, sys.argv[1], **few)  # what is imported, and what a small measurement holds
before = peak()
frontier = measure(model, sys.argv[2], **few)
print(peak() - before, frontier.meta.get("notes", [""])[0])
"""


def test_measuring_takes_little_more_memory_than_the_mapped_file(tmp_path):
    rows = np.random.default_rng(0).standard_normal((300_000, 64), dtype=np.float32)
    np.save(tmp_path / "small.npy", rows[:3000])
    np.save(tmp_path / "large.npy", rows)  # 77 MB
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "small.npy"), str(tmp_path / "large.npy")],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    grown, _, note = done.stdout.partition(" ")
    # Pages of the mapped file count too; copies of it, in float32 or in float64, would add 77 or 154 MB each.
    assert int(grown) < 300_000, grown
    assert note.strip() == "50 of 300000 items, drawn with seed 0, ask for their neighbours among all"
