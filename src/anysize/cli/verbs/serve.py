"""``anysize serve``: models and indexes over HTTP, at every size."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from anysize.cli.options import Positional

NEEDS = {"fastapi": "fastapi", "uvicorn": "uvicorn", "orjson": "orjson", "prometheus_client": "prometheus-client",
         "multipart": "python-multipart"}  # fmt: skip


@dataclass
class Serve:
    """
    Serve models of any kind, and indexes, with the API that people already use: OpenAI's, with a size in each request.

    What a model gives decides its routes: /v1/embeddings, /v1/chat/completions, /v1/audio/transcriptions, /run for all;
    /search for indexes; and at / a page to play with. Ends when it is told to (Ctrl-C, SIGTERM), after what it has.

    What the line does not say is read from variables: ANYSIZE_SERVE_PORT for --port, ANYSIZE_SERVE_TARGETS for the
    targets; several values stand between spaces, a flag is 1 or 0.
    """

    ENVIRONMENT: ClassVar[str] = "ANYSIZE_SERVE_"

    targets: Annotated[list[str], Positional("TARGET")] = field(default_factory=list)
    """Folders of models and indexes, or NAME=PATH; an index brings its model with it."""
    index: Annotated[list[str], "PATH"] = field(default_factory=list)
    """An index, as PATH or NAME=PATH."""
    name: Annotated[list[str], "NAME=PATH"] = field(default_factory=list)
    """One more name for a model or an index, for tools that only know fixed ones."""
    host: str = "127.0.0.1"
    """Where to listen; 0.0.0.0 for all addresses of this machine."""
    port: int = 8080
    """0 takes a free one."""
    api_key_file: Annotated[Path | None, "FILE"] = None
    """Keys, one a line; then a request needs one of them. SIGHUP reads the file again."""
    threads: int | None = None
    """Processor threads of a forward pass; without it, as many as there are."""
    default_size: str | None = None
    """What a request gets that names no size; without it, the full size of the model."""
    sizes: Annotated[list[str], "SIZE"] = field(default_factory=list)
    """A size to offer, such as dims=64; without any, all that a model has. Stages of a search are not bound by it."""
    on_long: Literal["error", "cut"] = "error"
    """What is done with texts that the model does not read whole, where a request does not say: refuse, or cut and
    say so."""
    max_batch_tokens: int = 16384
    """Tokens of a batch, with padding."""
    max_batch_texts: int = 64
    """Items of a batch."""
    max_queue_tokens: int | None = None
    """Tokens that may wait; more is refused with 429. Without it, those of 8 batches."""
    max_texts: int = 2048
    """Items of a request."""
    max_body: int = 8 * 2**20
    """Bytes of a request."""
    timeout: float = 30.0
    """Seconds that a request may take."""
    drain: float = 25.0
    """Seconds for what is in flight, once it was told to end."""
    drain_notice: float = 5.0
    """Seconds before that in which new work is answered 503, so that balancers see it."""
    cors: Annotated[list[str], "ORIGIN"] = field(default_factory=list)
    """Pages of other origins that may ask, such as https://example.org."""
    lenient: bool = False
    """Pass over fields that are not known, instead of refusing them."""
    metrics_open: bool = False
    """Let /metrics be read without a key."""

    def run(self) -> Any:
        """Load, bind, serve."""
        _check_installed()
        from anysize.core.errors import AnysizeError
        from anysize.serve.held.house import House
        from anysize.serve.held.settings import Settings
        from anysize.serve.life import bound, serve

        # oneDNN keeps a kernel for each shape of a batch, 1,024 of them unless told: memory that grows for long.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        wanted = [*self.targets, *self.index, *self.name]
        if not wanted:
            raise AnysizeError("name a model or an index to serve, such as `anysize serve mine --index idx`")
        settings = Settings(
            self.max_batch_tokens, self.max_batch_texts, self.max_queue_tokens, self.max_texts, self.max_body,
            on_long=self.on_long, timeout=self.timeout, drain=self.drain, drain_notice=self.drain_notice,
            api_key_file=self.api_key_file, cors=tuple(self.cors), metrics_open=self.metrics_open,
            lenient=self.lenient, default_size=self.default_size, sizes=tuple(self.sizes),
        )  # fmt: skip
        with bound(self.host, self.port) as listening:
            if self.threads is not None:
                import torch

                torch.set_num_threads(self.threads)
            house = House(settings)
            for target in wanted:
                house.open(target)
            if self.api_key_file is None and self.host not in ("127.0.0.1", "localhost", "::1"):
                from anysize.cli.notes import tell

                tell([f"anyone who reaches {self.host} may ask; --api-key-file FILE asks for a key"])
            cut_off = serve(house, listening)
        if cut_off:
            raise SystemExit(1)
        return Ended(house.answered)


@dataclass(frozen=True)
class Ended:
    """A server that ended in order."""

    answered: int

    def text(self) -> str:
        """One line."""
        return f"answered {self.answered:,} requests; nothing was cut off"

    def to_json(self) -> dict[str, Any]:
        """The same."""
        return {"answered": self.answered}


def _check_installed() -> None:
    """Raise `AnysizeError` with what installs it, if a package is missing."""
    from importlib.util import find_spec

    from anysize.core.errors import AnysizeError

    lacks = [package for module, package in NEEDS.items() if find_spec(module) is None]
    if lacks:
        raise AnysizeError(f"serving needs {', '.join(lacks)}: pip install 'anysize[serve]'")
