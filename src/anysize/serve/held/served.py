"""A model that is served: what can be asked of it, and its queue. It makes the call that ``anysize run`` makes."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anysize.core.errors import AnysizeError, SizeError, nearest
from anysize.core.model.faces import Predicts, ReadsTexts
from anysize.core.model.reported import took
from anysize.core.verbs.outputs import shape_of
from anysize.serve.held.batching import Job, Queue
from anysize.serve.held.errors import Refused

if TYPE_CHECKING:
    from anysize.core.model.contract import NestedModel
    from anysize.core.model.faces import Window
    from anysize.core.sides import Side
    from anysize.core.sizes.size import Size
    from anysize.serve.held.metrics import Metrics
    from anysize.serve.held.settings import Settings

SIDES: dict[str, Side] = {
    "query": "query",
    "search_query": "query",
    "retrieval.query": "query",
    "document": "document",
    "passage": "document",
    "search_document": "document",
    "retrieval.passage": "document",
}
"""What other providers call the two sides of a search."""


AT_ONCE = 4000
"""Characters up to which tokens are counted on the event loop."""


class How(NamedTuple):
    """What items must have in common to run together, besides their sizes."""

    of: str = "text"
    task: str | None = None
    side: Side | None = None
    options: tuple[tuple[str, Any], ...] = ()
    size: Size | None = None
    """Of a model whose sizes do not share a pass."""
    alone: str = ""
    """An id, of what shares a batch with nothing."""
    told: Callable[[str], None] | None = None
    """What is called with all that was said so far."""


@dataclass(frozen=True)
class Ran:
    """Outputs, one for each item, and what they took."""

    outputs: list[Any]
    took: list[dict[str, float]]
    queue_ms: float
    run_ms: float
    batch: int


class Served:
    """One model under its name."""

    def __init__(self, name: str, model: NestedModel, settings: Settings, metrics: Metrics) -> None:
        self.name, self.model, self.settings, self.metrics = name, model, settings, metrics
        self.created = int(time.time())
        self.lock = threading.Lock()
        """Held by whoever runs it: models keep what they run at in places that threads share."""
        self.frontier: dict[str, Any] | None = None
        wanted = model.nesting.resolve_all(settings.sizes) if settings.sizes else list(model.nesting)
        self.sizes = tuple(size for size in model.nesting if size in wanted)
        """Those that are offered, of the model's, the largest last."""
        self.default = (
            self._offered(model.nesting.resolve(settings.default_size)) if settings.default_size else self.sizes[-1]
        )
        self.queue = Queue(
            self._run,
            settings.limits,
            done=metrics.of_batches(name),
            failed=lambda error: metrics.failures.labels(name).inc(),
        )
        # A tokenizer cannot be used by two threads at once, so each that counts has its own: the event loop for what is
        # short, which costs less than to hand it over, and another thread for what is long.
        self._counter = ThreadPoolExecutor(1, thread_name_prefix="anysize-tokens")
        self._windows: dict[tuple[How, bool], Window] = {}
        limit = self.limit
        if limit is not None and limit > settings.max_batch_tokens:
            raise AnysizeError(
                f"{name} reads texts of {limit} tokens, and a batch holds {settings.max_batch_tokens}; set "
                f"--max-batch-tokens to {limit} or more"
            )

    @property
    def embeds(self) -> bool:
        """Whether it gives vectors, whose sizes can be mixed."""
        return self.model.gives == "vectors"

    @property
    def writes(self) -> bool:
        """Whether it gives words."""
        return self.model.gives in ("text", "next tokens")

    @property
    def tells(self) -> bool:
        """Whether it tells what it says while it says it."""
        return "told" in inspect.signature(self.model.run).parameters

    @property
    def limit(self) -> int | None:
        """The most tokens that it reads of a text; None where it does not say, or reads any."""
        window = self._window(How())
        return None if window is None or window.limit == float("inf") else int(window.limit)

    @property
    def options(self) -> dict[str, Any]:
        """The options of its `run` that a stranger may set, with their defaults: numbers, and what ends a text."""
        known = inspect.signature(self.model.run).parameters.values()
        kept = (one for one in known if one.kind is one.KEYWORD_ONLY and one.name not in ("side", "batch_size"))
        return {one.name: one.default for one in kept if isinstance(one.default, int | float) or one.name == "stop"}

    def about(self) -> dict[str, Any]:
        """What a client may know of it; the first four fields are OpenAI's."""
        model, nesting = self.model, self.model.nesting
        widths = sorted({size.dims for size in self.sizes}) if "dims" in nesting.axes and self.embeds else None
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "anysize",
            "kind": model.kind,
            "reads": list(model.reads),
            "gives": model.gives,
            "nesting": nesting.to_json(),
            "sizes": [str(size) for size in self.sizes],
            "default_size": str(self.default),
            "is_matryoshka": len(self.sizes) > 1,
            "matryoshka_dimensions": widths,
            "max_tokens": self.limit,
            "mixes_sizes": model.mixes_sizes,
            "tasks": list(model.tasks),
            "options": sorted(self.options),
            "fingerprint": model.fingerprint,
            "frontier": self.frontier,
        }

    # What is asked

    def size(self, asked: dict[str, Any], typed: Any = None) -> Size:
        """The size that axes, or a size as it is typed, name. Raises `SizeError`, or `Refused` for both at once."""
        if typed is not None and asked:
            raise Refused(400, "wrong_value", f"size stands beside {' and '.join(asked)}; give one", "size")
        if typed is not None:
            return self._offered(self.model.nesting.resolve(typed))
        if not asked:
            return self.default
        return self._offered(self.model.nesting.resolve(**{**dict(self.default), **asked}))

    def several(self, typed: Sequence[Any]) -> list[Size]:
        """Sizes as they are typed, each once. Raises `SizeError` for one that is not offered."""
        return [self._offered(size) for size in self.model.nesting.resolve_all(typed)]

    def _offered(self, size: Size) -> Size:
        if size not in self.sizes:
            raise SizeError(f"{self.name} is served at {' and '.join(map(str, self.sizes))}; {size} is not among them")
        return size

    def how(self, word: str | None) -> How:
        """What a task or a side, in whichever provider's words, stands for. Raises `Refused` for another."""
        if word is None:
            return How()
        if word in self.model.tasks:
            return How(task=word)
        if word in SIDES:
            return How(side=SIDES[word])
        there = nearest(word, [*self.model.tasks, *SIDES])
        raise Refused(400, "wrong_value", f"{self.name} does not run for the task {word[:80]!r}; {there}", "task")

    # Running

    def _window(self, how: How, *, here: bool = True) -> Window | None:
        model = self.model.for_task(how.task)
        if "text" not in model.reads or not isinstance(model, ReadsTexts):
            return None
        key = How(task=how.task, side=how.side), here
        if key not in self._windows:
            try:
                self._windows[key] = copy.deepcopy(model.window(how.side))
            except AnysizeError:  # one that reads texts only where it has an encoder, and has none
                return None
        return self._windows[key]

    def _counts(self, items: Sequence[Any], how: How, *, here: bool) -> tuple[list[int], float]:
        window = self._window(how, here=here) if how.of == "text" else None
        if window is not None:
            return window.counts(items), window.limit
        if how.of == "text" and isinstance(self.model, Predicts) and self.model.tokenizer is not None:
            tokenizer = self.model.tokenizer
            return [len(tokenizer(text, verbose=False)["input_ids"]) for text in items], float("inf")
        return [1] * len(items), float("inf")

    async def counts(self, items: Sequence[Any], how: How) -> tuple[list[int], float]:
        """How many tokens each item has (1 of what is no text), and how many are read of one at most."""
        if how.of != "text" or (sum(map(len, items)) <= AT_ONCE and not self.writes):
            return self._counts(items, how, here=True)
        counting = functools.partial(self._counts, items, how, here=False)
        return await asyncio.get_running_loop().run_in_executor(self._counter, counting)

    async def run(
        self, items: Sequence[Any], sizes: Sequence[Size], how: How, tokens: Sequence[int], arrived: float
    ) -> Ran:
        """What the model gives for each item at its size. Raises what the queue does, and what the model does."""
        job = Job(items, sizes, tokens, how, arrived + self.settings.timeout)
        future = asyncio.wrap_future(self.queue.submit(job))
        async with asyncio.timeout(max(0.0, job.deadline - time.monotonic())):
            found = await future
        self.metrics.queued.observe((job.started or job.arrived) - job.arrived)
        waited = 1000 * ((job.started or job.arrived) - job.arrived)
        outputs, paid = [one for one, _ in found], [one for _, one in found]
        return Ran(outputs, paid, round(waited, 3), round(1000 * job.ran, 3), job.largest)

    def _run(self, how: How, items: list[Any], sizes: list[Size]) -> list[tuple[Any, dict[str, float]]]:
        with self.lock:
            return self._made(how, items, sizes)

    def _made(self, how: How, items: list[Any], sizes: list[Size]) -> list[tuple[Any, dict[str, float]]]:
        view = self.model.for_task(how.task)
        given = np.stack(items) if how.of == "vector" else items[0] if how.of == "whole" else items
        if self.embeds and how.size is None:
            return [(row, {}) for row in view.run_mixed(given, sizes, side=how.side)]
        options = dict(how.options) | ({} if how.told is None else {"told": how.told})
        found = view.at(sizes[0]).run(given, side=how.side, **options)
        listed = shape_of(view.gives).listed(found)
        return [(listed, {})] if how.of == "whole" else list(zip(listed, took(found), strict=True))

    def warm(self) -> None:
        """Run once, so that what is loaded at the first item is loaded."""
        if "text" in self.model.reads and not self.writes and self._window(How()) is not None:
            word = SIDES["query"] if not self.model.tasks else None
            task = self.model.tasks[0] if self.model.tasks and self.model.task is None else None
            self._run(How("text", task, word), ["warm"], [self.default])
        self.model.fingerprint  # noqa: B018  (computed once, and kept)

    def close(self, timeout: float) -> bool:
        """Run what waits and end; whether that was done in time."""
        done = self.queue.close(timeout)
        self._counter.shutdown(wait=False)
        return done
