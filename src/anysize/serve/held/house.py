"""All that one server serves, by name."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from anysize.core.errors import AnysizeError, nearest
from anysize.core.frontier.frontier import Frontier
from anysize.core.model.contract import NestedModel
from anysize.core.verbs.load import load
from anysize.search.store.manifest import Manifest, read_manifest
from anysize.serve.held.batching import Queue
from anysize.serve.held.errors import Refused
from anysize.serve.held.indexed import Indexed
from anysize.serve.held.limits import Keys
from anysize.serve.held.metrics import Metrics
from anysize.serve.held.served import Served
from anysize.serve.held.settings import Settings

One = TypeVar("One")
_NAME = re.compile(r"[\w.:/@+-]+=")


class House:
    """Models and indexes, the keys, and whether the server is ready or about to end."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.metrics, self.keys = Metrics(), Keys(self.settings.api_key_file)
        self.models: dict[str, Served] = {}
        self.indexes: dict[str, Indexed] = {}
        self.paths: dict[str, str] = {}
        """What no answer may tell: where things lie -> what they are called."""
        self.ready = self.draining = False
        self.in_flight = self.answered = self.cut_off = 0

    def add(self, name: str, model: NestedModel) -> Served:
        """Serve a model under a name. Raises `AnysizeError` for a name that is taken."""
        if name in self.models:
            raise AnysizeError(f"two models are called {name}; name one of them otherwise, as NAME=PATH")
        self.models[name] = Served(name, model.eval(), self.settings, self.metrics)
        return self.models[name]

    def open(self, target: str) -> None:
        """Serve what lies at NAME=PATH, or at a path, under the name of its folder: a model, or an index."""
        name, path = named_path(target)
        if (path / "index.json").exists():
            self.open_index(name, path)
            return
        served = self.add(name, load(path))
        self.paths[str(path)] = name
        if (path / "frontier.json").is_file():
            found = Frontier.from_json(path / "frontier.json").to_json()
            served.frontier = {name: found[name] for name in ("records", "metric")}  # the rest may name places

    def open_index(self, name: str, path: Path) -> None:
        """Serve an index with its model: one that is served, or else its own, which then is served too."""
        if name in self.indexes:
            raise AnysizeError(f"two indexes are called {name}; name one of them otherwise, as NAME=PATH")
        manifest = read_manifest(path)
        served = None
        if manifest.model_size is not None:
            served = next((one for one in self.models.values() if _made(manifest, one.model)), None)
            if served is None and manifest.model_path is not None:
                self.open(manifest.model_path)
                served = self.models[named_path(manifest.model_path)[0]]
        self.paths[str(path)] = name
        self.indexes[name] = Indexed(name, path, served, self.settings, self.metrics)

    def names(self) -> list[str]:
        """What it serves."""
        return [*self.models, *self.indexes]

    def model(self, name: Any) -> Served:
        """The model of a name; of none, the only one. Raises `Refused`, naming the nearest there is."""
        return _named(self.models, "model", name)

    def index(self, name: Any) -> Indexed:
        """The same of an index."""
        return _named(self.indexes, "index", name)

    def without_paths(self, message: str) -> str:
        """A sentence in which things have their names, not their places."""
        for path in sorted(self.paths, key=len, reverse=True):
            message = message.replace(path, self.paths[path])
        return message

    async def warm(self) -> None:
        """Run each model once, then be ready."""
        for served in self.models.values():
            await asyncio.to_thread(served.warm)
        for indexed in self.indexes.values():
            await asyncio.to_thread(indexed.warm)
        self.ready = True

    def trouble(self) -> str | None:
        """Why it is not ready, in a word."""
        if self.draining:
            return "draining"
        if not self.ready:
            return "loading"
        failing = [name for name, queue in self._queues().items() if queue.failures >= 3]
        return f"engine_failed: {', '.join(failing)}" if failing else None

    def alive(self) -> bool:
        """Whether each model's thread answered lately."""
        late = time.monotonic() - 5 * self.settings.timeout
        return all(queue.beat > late for queue in self._queues().values())

    def _queues(self) -> dict[str, Queue]:
        models = {name: served.queue for name, served in self.models.items()}
        return models | {name: indexed.queue for name, indexed in self.indexes.items()}

    def close(self, timeout: float) -> bool:
        """End all queues; whether what waited was run in time."""
        until = time.monotonic() + timeout
        for indexed in self.indexes.values():
            indexed.queue.close(max(0.1, until - time.monotonic()))
        return all([served.close(max(0.1, until - time.monotonic())) for served in self.models.values()])


def named_path(target: str) -> tuple[str, Path]:
    """What a target is called, and where it lies: NAME=PATH, or a path by its last part."""
    found = _NAME.match(target)
    if found and not Path(target).exists():
        return target[: found.end() - 1], Path(target[found.end() :]).absolute()
    path = Path(target).absolute()
    return path.resolve().name if path.name in ("", "..") else path.name, path


def _made(manifest: Manifest, model: NestedModel) -> bool:
    """Whether a model made the vectors of an index."""
    return (manifest.model_fingerprint or "").startswith(model.fingerprint)


def _named(held: Mapping[str, One], what: str, name: Any) -> One:
    if name is None and len(held) == 1:
        return next(iter(held.values()))
    if name is None:
        raise Refused(400, "missing", f"{what} is missing; there are: {', '.join(held)}", what)
    if not isinstance(name, str) or name not in held:
        said = f"there is no {what} {str(name)[:80]!r}; {nearest(str(name), held)}"
        raise Refused(404, f"{what}_not_found", said, what)
    return held[name]
