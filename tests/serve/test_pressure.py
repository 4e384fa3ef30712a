"""Ten times what a server can do, for a short while: it answers or says when to come back, and forgets what it did."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from anysize.serve.held.house import House
from anysize.serve.held.settings import Settings
from tests.conftest import sentences
from tests.serve.conftest import running
from tests.serve.test_app import vectors

TEXTS = sentences(40)


def test_ten_times_its_capacity(kinds, monkeypatch):
    model = kinds("encoder")
    expected = {size: model.at(size).encode(TEXTS) for size in model.nesting}
    run = type(model).run_mixed

    def slow(self, items, sizes, **options):
        time.sleep(0.01 * len(items))
        return run(self, items, sizes, **options)

    monkeypatch.setattr(type(model), "run_mixed", slow)
    house = House(Settings(max_queue_tokens=150, timeout=3.0))
    house.add("mine", model)
    statuses, trouble, slowest = Counter(), [], [0.0]
    with running(house) as client:
        until = time.monotonic() + 2.0

        def ask(seed):
            rng = random.Random(seed)
            while time.monotonic() < until:
                place, size = rng.randrange(len(TEXTS)), rng.choice(list(model.nesting))
                begin = time.monotonic()
                answer = client.ask("/v1/embeddings", {"input": TEXTS[place], "size": str(size)})
                statuses[answer.status] += 1
                if answer.status == 429:
                    if int(answer.headers["retry-after"]) < 1:
                        trouble.append(answer)
                    continue
                slowest[0] = max(slowest[0], time.monotonic() - begin)
                if not np.allclose(vectors(answer), expected[size][place], atol=1e-5):
                    trouble.append(answer)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(40)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not trouble
        assert set(statuses) == {200, 429}, statuses
        assert slowest[0] < 3.5
        assert client.ask("/v1/embeddings", {"input": TEXTS[0]}).status == 200
        assert house.models["mine"].queue.waiting == 0
        assert house.in_flight <= 1


def test_memory_does_not_grow_with_requests(kinds):
    house = House()
    house.add("mine", kinds("embedder"))
    with running(house) as client:
        rng = random.Random(0)

        def ask(count):
            for _ in range(count):
                some = [
                    " ".join(text.split()[: rng.randint(1, 6)]) for text in rng.sample(TEXTS, rng.choice((1, 2, 9)))
                ]
                assert client.ask("/v1/embeddings", {"input": some, "dimensions": rng.choice((4, 16))}).status == 200
            gc.collect()
            return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

        before = ask(100)
        assert ask(300) - before < 25
