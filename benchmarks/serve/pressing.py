"""
Claims, all of one server on one thread with MiniLM at layers 2, 4, 6 and dims 64, 384:

- short: the 99th percentile of one-text requests beside a client that sends jobs of 2,048 texts is at most 3 times
  what it is alone (200 requests each, one at a time).
- overload: requests that come for 60 s ten times as fast as it answers end in an answer or in 429; the server stays up,
  no answer is wrong (1e-5 beside the answer alone), and each that is taken is answered within the server's --timeout
  (10 s) and half a second. A first run, at a load of 10, answered 228, refused 2,044 and let 39 be late (504), with the
  slowest 27 s after its client began: admission let jobs use .6 of their time. Now they may use .4.
- memory: over 2,000 requests of random sizes and lengths after 300 that warm it up, its resident memory grows by less
  than 50 MB.
- swaps: while an index gets 100 new generations, no search fails, and each finds the items of one generation exactly.

    python -m benchmarks.serve.pressing
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.serve.loading import Asked, Client, Load, ask_all, model, serving, texts_of
from benchmarks.serve.mixed import asked_of, drawn

TIMEOUT, TIMES, DISTINCT = 10.0, 10, 40
PARTS = ("short", "overload", "memory", "swaps")


def short_beside_long(mine: Path) -> dict[str, Any]:
    """Percentiles of one-text requests alone and beside jobs of 2,048 texts, in ms."""
    texts = texts_of(2400)
    with serving(str(mine), "--timeout", "900") as (port, _):
        few = [Asked(port, {"input": [text]}, "/embeddings") for text in texts[:200]]
        ask_all(few[:60], 1)
        alone = ask_all(few, 1)
        over, jobs = threading.Event(), Load()

        async def long() -> None:
            async with Client() as client:
                while not over.is_set():
                    body = {"input": texts[200:2248], "encoding_format": "base64"}
                    await client.count(Asked(port, body, "/embeddings"), jobs)

        thread = threading.Thread(target=lambda: asyncio.run(long()), daemon=True)
        thread.start()
        time.sleep(5)
        beside = ask_all(few, 1)
        over.set()
        assert alone.statuses == beside.statuses == {200: 200}
    found = {
        name: {"p50 ms": round(load.at(50), 1), "p99 ms": round(load.at(99), 1)}
        for name, load in (("alone", alone), ("beside", beside))
    }
    return {
        **found,
        "times": {"p99": round(beside.at(99) / alone.at(99), 2), "p50": round(beside.at(50) / alone.at(50), 2)},
    }


def overload(mine: Path, seconds: float) -> dict[str, Any]:
    """What becomes of requests of four texts that come ten times as fast as they are answered."""
    rng, texts = random.Random(0), texts_of(400)
    distinct = [(rng.sample(texts, 4), rng.choice((2, 4, 6)), rng.choice((64, 384))) for _ in range(DISTINCT)]
    with serving(str(mine), "--timeout", f"{TIMEOUT:g}") as (port, process):
        asked = [asked_of("anysize", port, one) for one in distinct]
        expected = asyncio.run(_alone(asked))
        before = ask_all(asked, 8)
        assert before.statuses == {200: len(asked)}, before.statuses
        capacity = len(asked) / before.seconds
        found, wrong = asyncio.run(_flood(asked, expected, TIMES * capacity, seconds))
        assert process.poll() is None, "the server ended"
        after = ask_all(asked, 8)
        memory = resident(process.pid)
    return {
        "requests a second": {
            "capacity": round(capacity, 2), "offered": round(sum(found.statuses.values()) / seconds, 2),
        },
        "answers": {str(status): count for status, count in sorted(found.statuses.items())},
        "wrong answers": {"all": wrong},
        "ms of those answered": {"p50": round(found.at(50), 1), "most": round(max(found.took), 1)},
        "after": {"answered": after.statuses[200], "of": len(asked), "MB": round(memory)},
    }  # fmt: skip


async def _alone(asked: list[Asked]) -> list[np.ndarray]:
    async with Client() as client:
        return [_vectors((await client.ask(one))[1]) for one in asked]


async def _flood(asked: list[Asked], expected: list[np.ndarray], rate: float, seconds: float) -> tuple[Load, int]:
    found, wrong = Load(), 0

    async def one(place: int) -> None:
        nonlocal wrong
        async with Client() as client:
            status, answer = await client.count(asked[place], found)
        wrong += status == 200 and not np.allclose(_vectors(answer), expected[place], atol=1e-5, rtol=0)

    begin, tasks = time.perf_counter(), list[asyncio.Task[None]]()
    while (now := time.perf_counter() - begin) < seconds:
        due = int(now * rate) - len(tasks)
        tasks += [asyncio.create_task(one((len(tasks) + more) % len(asked))) for more in range(due)]
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    return found, wrong


def _vectors(answer: Any) -> np.ndarray:
    return np.array([np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in answer["data"]])


def memory(mine: Path, count: int) -> dict[str, Any]:
    """MB that are resident after a warm-up, after each quarter of random requests, and how much that grew."""
    texts, found = texts_of(2000), []
    with serving(str(mine), "--timeout", "600") as (port, process):
        requests = [asked_of("anysize", port, one) for one in drawn(texts, 300 + count, mixed=True)]
        ask_all(requests[:300], 8)
        found.append(resident(process.pid))
        for quarter in range(4):
            load = ask_all(requests[300 + quarter * count // 4 : 300 + (quarter + 1) * count // 4], 8)
            assert set(load.statuses) == {200}
            found.append(resident(process.pid))
    return {"MB": {f"after {place * count // 4}": round(one, 1) for place, one in enumerate(found)},
            "growth": {"MB": round(found[-1] - found[0], 1)}}  # fmt: skip


def resident(pid: int) -> float:
    """MB of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def swaps(mine: Path, folder: Path, count: int) -> dict[str, Any]:
    """Searches while an index changes: how many there were, failed, mixed, and in how many generations."""
    from anysize.search import Index
    from anysize.text import NestedEncoder

    texts, trouble, seen, over = texts_of(60 + count), Counter[str](), Counter[int](), threading.Event()
    Index.build(folder / "idx", str(mine), texts[:60], progress=False)

    async def search(port: int) -> None:
        async with Client() as client:
            while not over.is_set():
                body = {"index": "idx", "query": texts[0], "k": 1000}
                status, found = await client.ask(Asked(port, body, "/search"))
                if status != 200:
                    trouble["failed"] += 1
                    continue
                seen[found["generation"]] += 1
                whole = {str(place) for place in range(60 + found["generation"] - 1)}
                trouble["mixed"] += {hit["id"] for hit in found["hits"]} != whole

    with serving(str(mine), "--index", str(folder / "idx")) as (port, _):
        threads = [threading.Thread(target=lambda: asyncio.run(search(port))) for _ in range(3)]
        for one in threads:
            one.start()
        writer = Index.open(folder / "idx", model=NestedEncoder.load(mine))
        for place in range(count):
            writer.add([texts[60 + place]], progress=False)
            if place % 2:  # every other one is left to the server's own watch
                ask_all([Asked(port, {}, "/indexes/idx/refresh")], 1)
            time.sleep(0.1)
        time.sleep(2)
        over.set()
        for one in threads:
            one.join()
    return {"searches": {"all": seen.total(), "failed": trouble["failed"], "mixed": trouble["mixed"]},
            "generations": {"written": count + 1, "seen": len(seen), "last": max(seen)}}  # fmt: skip


def main() -> None:
    """Measure the parts that are named, or all, and write their rows."""
    parser = arguments(__doc__, seconds=60, requests=2000, swaps=100)
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mine = model(Path(folder))
        for part in options.parts:
            if part == "short":
                found = short_beside_long(mine)
                goals = [found["times"]["p99"] <= 3]
                note = f"p99 of one text is {found['times']['p99']} times, p50 {found['times']['p50']} times that alone"
            elif part == "overload":
                found = overload(mine, options.seconds)
                late = found["ms of those answered"]["most"] > 1000 * TIMEOUT + 500
                ends = set(found["answers"]) <= {"200", "429"} and found["after"]["answered"] == found["after"]["of"]
                goals = [not late, ends, not found["wrong answers"]["all"]]
                note = (
                    f"Over {options.seconds} s: {found['answers']} by status, {found['wrong answers']['all']} wrong, "
                )
                note += (
                    f"the slowest {found['ms of those answered']['most']:.0f} ms after its client began. A first run, "
                )
                note += "in which admission let jobs use .6 of their time and not .4, had 39 late (504) of 2,311"
            elif part == "memory":
                found = memory(mine, options.requests)
                goals = [found["growth"]["MB"] < 50]
                note = (
                    f"Resident memory grew by {found['growth']['MB']} MB over {options.requests:,} requests. A first "
                )
                note += "run grew by 56.2: oneDNN kept a kernel for each shape of a batch, and now keeps 64 in all"
            else:
                found = swaps(mine, Path(folder), options.swaps)
                searched = found["searches"]
                goals = [
                    not searched["failed"],
                    not searched["mixed"],
                    found["generations"]["last"] == options.swaps + 1,
                ]
                note = f"{searched['all']} searches in {found['generations']['seen']} generations of {options.swaps}: "
                note += f"{searched['failed']} failed, {searched['mixed']} mixed"
            print(part, found, flush=True)
            _write(part, found, goals, note, options)


def _write(part: str, found: dict[str, Any], goals: list[bool], note: str, options: Any) -> None:
    usual = {"seconds": 60, "requests": 2000, "swaps": 100}
    changed = [f"--{name} {getattr(options, name)}" for name in usual if getattr(options, name) != usual[name]]
    claims = {
        "short": "p99 of one-text requests beside jobs of 2,048 texts is at most 3 times that alone",
        "overload": "at ten times its capacity for 60 s it answers or says 429, no answer is wrong or late",
        "memory": "resident memory grows by less than 50 MB over 2,000 random requests after a warm-up",
        "swaps": "100 new generations of an index under load: no search fails, none mixes two",
    }
    write_row(
        f"serve-{part}", claim=claims[part], arms=["anysize"], metric="as named", values=found,
        outcome="won" if all(goals) else "mixed" if any(goals) else "lost",
        note=f"{note}. Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, of other work too.",
        paper="none: a property of ours", reported="not reported",
        command=" ".join(["python -m benchmarks.serve.pressing --parts", part, *changed]),
        data="beginnings of documentation strings, 3 to 48 words",
    )  # fmt: skip


if __name__ == "__main__":
    main()
