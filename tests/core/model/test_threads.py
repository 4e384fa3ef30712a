"""One model, asked from several threads at once, as servers and pools do, answers each as it would alone."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from anysize.core.data.records import Items
from tests.core.model.test_saved_models import KINDS
from tests.core.verbs.test_run import items_for
from tests.kinds import models

THREADS, TIMES = 4, 8
SHORT = {"causal-lm", "edited-lm", "quantized-lm", "speech", "vlm"}
"""Kinds that write texts: short ones are enough."""


def plain(found: Any) -> list[Any]:
    """Outputs as arrays or words, of any kind."""
    if hasattr(found, "indices"):
        return [np.asarray(part) for part in (found.indices, found.values, found.offsets)]
    return [one if isinstance(one, np.ndarray) else str(one) for one in found]


def asked_of(model: Any, items: Any, options: dict[str, Any]) -> list[Callable[[], list[Any]]]:
    """Some items at each size, for each task, and several sizes in one pass."""
    rows, sizes, calls = getattr(items, "rows", items), list(model.nesting), []
    for n in range(9):
        places = [(n + m) % len(rows) for m in range(1 + n % 3)]
        some = Items([str(row) for row in range(len(rows))], rows, getattr(items, "of", "text")).take(places).rows
        size = sizes[n % len(sizes)]
        view = model.at(size).for_task(model.tasks[n % len(model.tasks)] if model.tasks else None)
        if n % 3 == 2 and not options and model.mixes_sizes:
            calls.append(
                lambda some=some, n=n: plain(model.run_mixed(some, [sizes[(n + m) % len(sizes)] for m in range(3)]))
            )
        else:
            calls.append(lambda view=view, some=some: plain(view.run(some, **options)))
    return calls


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_one_at_a_time(kind, encoder_path, lm_path):
    model = models(encoder_path, lm_path)[kind][0]().eval()
    calls = asked_of(model, items_for(kind), {"max_new_tokens": 4} if kind in SHORT else {})
    wanted = [call() for call in calls]
    gate = threading.Barrier(THREADS)

    def work(thread: int) -> None:
        gate.wait()
        for turn in range(TIMES):
            place = (2 * thread + turn) % len(calls)
            for one, expected in zip(calls[place](), wanted[place], strict=True):
                if isinstance(one, np.ndarray) and one.dtype.kind in "fc":
                    np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)
                else:
                    np.testing.assert_array_equal(one, expected)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(work, thread) for thread in range(THREADS)]:
            done.result()


@pytest.mark.parametrize("kind", ["speech", "task-encoder"])
def test_a_copy_waits_for_nobody(kind, encoder_path, lm_path):
    model = models(encoder_path, lm_path)[kind][0]().eval()
    twin = copy.deepcopy(model)
    calls = asked_of(twin, items_for(kind), {"max_new_tokens": 4} if kind in SHORT else {})
    with model.adapters._guard, ThreadPoolExecutor(1) as pool:
        assert pool.submit(calls[0]).result(30)
