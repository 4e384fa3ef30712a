"""The queue alone: every output is the item's own, and who waits for whom."""

import random
import threading
import time

import numpy as np
import pytest

from anysize.core.errors import DataError
from anysize.serve.held.batching import PADDED, PASS, ClosedError, FullError, Job, LateError, Limits, Queue
from tests.conftest import sentences
from tests.kinds import models


class Recording:
    """Runs anything, notes what ran together, and can be held back."""

    def __init__(self):
        self.batches, self.go, self.busy = [], threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, key, items, how):
        self.busy.set()
        assert self.go.wait(10)
        self.batches.append((key, list(items)))
        if "bad" in items:
            raise DataError("bad is no text")
        if "broken" in items:
            raise RuntimeError("broken")
        if "large" in items and len(items) > 2:
            raise MemoryError
        return [f"{key}:{item}@{one}" for item, one in zip(items, how, strict=True)]


def job(*items, tokens=5, **options):
    counts = [tokens] * len(items) if isinstance(tokens, int) else tokens
    return Job(items, [1] * len(items), counts, **options)


@pytest.fixture
def run():
    return Recording()


@pytest.fixture
def queue(run):
    made = Queue(run, Limits(batch_tokens=100, batch_items=8, queue_tokens=400))
    yield made
    run.go.set()
    assert made.close(10)


def held(queue, run):
    """A job that runs until `run.go` is set, so that what comes after it waits."""
    run.go.clear()
    run.busy.clear()
    first = queue.submit(job("first"))
    assert run.busy.wait(10)
    return first


def test_what_waits_runs_together_and_each_gets_its_own(queue, run):
    first = held(queue, run)
    waiting = [queue.submit(job("a", "b")), queue.submit(job("c")), queue.submit(job("d", key="other"))]
    run.go.set()
    assert [one.result(10) for one in (first, *waiting)] == [
        ["None:first@1"], ["None:a@1", "None:b@1"], ["None:c@1"], ["other:d@1"]]  # fmt: skip
    assert run.batches == [(None, ["first"]), (None, ["a", "b", "c"]), ("other", ["d"])]


def test_batches_keep_within_their_tokens_and_hold_items_of_about_one_length(queue, run):
    held(queue, run)
    lengths = [50, 5, 5, 5, 50, 60, 30, 5]
    found = queue.submit(job(*range(8), tokens=lengths))
    run.go.set()
    assert found.result(10) == [f"None:{row}@1" for row in range(8)]
    for _, rows in run.batches[1:]:
        assert len(rows) * max(lengths[row] for row in rows) <= 100 or len(rows) == 1
    assert sorted(row for _, rows in run.batches[1:] for row in rows) == list(range(8))


def test_one_item_that_exceeds_every_batch_still_runs(queue):
    assert queue.submit(job("long", tokens=5000)).result(10) == ["None:long@1"]  # nothing waited, so it was let in


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(queue, run):
    held(queue, run)
    queue.submit(job("a", tokens=390))
    with pytest.raises(FullError) as refused:
        queue.submit(job("b", tokens=20))
    assert refused.value.seconds >= 1
    queue.submit(job("c", tokens=10))


def test_a_job_that_would_wait_until_it_is_late_is_refused_at_once(queue, run):
    held(queue, run)
    queue.submit(job("a", tokens=200))
    soon = time.monotonic() + 0.06  # a queue is thought to run 5,000 tokens a second before it has run any
    with pytest.raises(FullError):
        queue.submit(job("b", tokens=100, deadline=soon))
    queue.submit(job("c", tokens=100, deadline=time.monotonic() + 10))


def test_while_short_jobs_come_a_piece_of_a_long_one_takes_little_longer_than_they_do():
    lengths = []

    def run(key, items, how):
        lengths.append((items[0], len(items)))
        time.sleep(0.001 * len(items))  # 5,000 tokens a second
        return items

    queue = Queue(run, Limits(batch_tokens=10_000, batch_items=1000, queue_tokens=100_000))
    queue.submit(job(*["alone"] * 800)).result(10)
    assert lengths[0] == ("alone", 800)
    queue.submit(job("short")).result(10)
    queue.submit(job(*["beside"] * 200)).result(10)
    pieces = [count for name, count in lengths if name == "beside"]
    assert max(pieces) < 60  # about 20 ms
    assert queue.close(10)


def test_short_jobs_pass_long_ones_and_long_ones_get_every_fourth_batch(queue, run):
    held(queue, run)
    long = queue.submit(job(*(f"long {place}" for place in range(40)), tokens=2))
    shorts = [queue.submit(job(f"short {place}", tokens=20, key=place)) for place in range(9)]
    run.go.set()
    for one in [long, *shorts]:
        one.result(10)
    order = ["long" if str(items[0]).startswith("long") else "short" for _, items in run.batches[1:]]
    first = [place for place, kind in enumerate(order) if kind == "long"]
    assert first[0] <= 3  # not starved
    assert order[: first[0]] == ["short"] * first[0]  # and yet it waited for those that are short
    assert first[1] - first[0] == 4
    assert sum(kind == "short" for kind in order[:8]) == 6


def test_who_has_gone_or_is_late_is_not_run(queue, run):
    held(queue, run)
    gone, late = queue.submit(job("gone")), queue.submit(job("late", deadline=time.monotonic() + 0.02))
    assert gone.cancel()
    time.sleep(0.05)
    run.go.set()
    with pytest.raises(LateError):
        late.result(10)
    assert queue.submit(job("next")).result(10)
    assert [items for _, items in run.batches] == [["first"], ["next"]]


def test_a_neighbour_that_is_bad_spoils_nothing(queue, run):
    held(queue, run)
    good, bad, broken = (queue.submit(job(name)) for name in ("good", "bad", "broken"))
    run.go.set()
    assert good.result(10) == ["None:good@1"]
    with pytest.raises(DataError, match="bad is no text"):
        bad.result(10)
    with pytest.raises(RuntimeError):
        broken.result(10)
    assert queue.failures <= 1  # bad input counts as no failure
    assert queue.submit(job("after")).result(10)
    assert queue.failures == 0


def test_what_lacks_memory_is_halved_once(queue):
    assert queue.submit(job("large", "b", "c", "d")).result(10) == [
        f"None:{item}@1" for item in ("large", "b", "c", "d")
    ]
    with pytest.raises(MemoryError):
        queue.submit(job("large", *"abcdef")).result(10)


def test_closing_runs_what_waits_and_takes_no_more(run):
    queue = Queue(run)
    held(queue, run)
    waiting = queue.submit(job("a"))
    threading.Timer(0.05, run.go.set).start()
    assert queue.close(10)
    assert waiting.result(0) == ["None:a@1"]
    with pytest.raises(ClosedError):
        queue.submit(job("b"))


@pytest.mark.parametrize("kind", ["encoder", "embedder", "quantized-encoder"])
def test_many_clients_at_all_sizes_get_the_vectors_of_the_model_alone(kind, encoder_path, lm_path):
    model = models(encoder_path, lm_path)[kind][0]().eval()
    rng, texts = random.Random(0), sentences(40)
    batches, speeds = [], []

    def done(batch):
        batches.append(batch)
        speeds.append(queue._speed)

    queue = Queue(lambda key, items, sizes: model.run_mixed(items, sizes, side=key), done=done)
    speeds.append(queue._speed)
    asked = []
    for _ in range(60):
        some = [" ".join(text.split()[: rng.randint(1, 6)]) for text in rng.sample(texts, rng.choice((1, 1, 2, 9)))]
        sizes = [rng.choice(list(model.nesting)) for _ in some]
        side = rng.choice((None, "query"))
        counts = model.window(side).counts(some)
        asked.append((some, sizes, side, queue.submit(Job(some, sizes, counts, key=side))))
    for some, sizes, side, result in asked:
        for text, size, vector in zip(some, sizes, result.result(30), strict=True):
            np.testing.assert_allclose(vector, model.at(size).encode([text], side=side)[0], atol=1e-5)
    assert queue.close(10)
    assert any(len({id(job) for job, _ in batch.rows}) > 1 for batch in batches)  # how many depends on the speed
    assert any(len({job.how[row] for job, row in batch.rows}) > 1 for batch in batches)
    for place, batch in enumerate(batches):  # a fast machine may pad more, in the time that a pass costs in any case
        assert batch.padded <= PADDED * batch.tokens + PASS * max(speeds[: place + 1])
