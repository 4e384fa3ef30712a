"""What benchmarks share: their usual options, what they keep of finished runs, and figures as sentences show them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.files import read_json, write_json


def arguments(doc: str | None, *folders: str, **counts: int) -> argparse.ArgumentParser:
    """A parser that prints `doc` as it is written, with these folders, which are required, and counts with defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in folders:
        told = "keeps what is finished, so that a stopped run continues" if name == "cache" else None
        parser.add_argument(f"--{name}", type=Path, required=True, help=told)
    for name, default in counts.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default: {default}")
    return parser


def kept(path: Path, run: Callable[..., Any], *given: Any) -> Any:
    """What a finished run found, else what it finds now with what is given, as JSON."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, run(*given))
    return read_json(path, "a finished run")


def per_seed(folder: Path, name: str, seeds: Iterable[int], run: Callable[..., Any], *given: Any) -> list[Any]:
    """What `run` finds with each seed and what is given, where it is kept or now."""
    return [kept(folder / f"{name}-{seed}.json", run, seed, *given) for seed in seeds]


def shown(figures: Sequence[float] | np.ndarray) -> str:
    """A mean, how far the figures spread, and the single ones, with signs."""
    each = ", ".join(f"{one:+.3f}" for one in figures)
    return f"{np.mean(figures):+.3f} (spread {np.std(figures):.3f}; {each})"
