"""Models of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anysize.cli.about.facts import About, bytes_on_disk, optional
from anysize.cli.about.model import prompts


def about_sentence_transformers(path: Path) -> About:
    """An ordinary sentence-transformers model."""
    from anysize.core.files import read_json

    modules = read_json(path / "modules.json", "a sentence-transformers model")
    parts = [str(module.get("type", "?")).rpartition(".")[2] for module in modules]
    settings = [optional(path / str(module.get("path", "")) / "config.json") for module in modules]
    keys = ("out_features", "word_embedding_dimension", "embedding_dimension")
    widths = [found[key] for found in reversed(settings) for key in keys if key in found]
    saved = optional(path / "config_sentence_transformers.json")
    facts = {
        "parts": ", ".join(parts),
        "dims": widths[0] if widths else None,
        "truncated_to": saved.get("truncate_dim"),
        **prompts(saved),
        "trained_dims": optional(path / "config.json").get("matryoshka_dimensions"),
        "made_by": ", ".join(f"{name} {version}" for name, version in saved.get("__version__", {}).items()) or None,
        "bytes_on_disk": bytes_on_disk(path),
    }
    return About(path, "sentence-transformers model", facts, hint=f"anysize fit DATA --model {path} --out MODEL")


def about_layout(path: Path) -> About:
    """A model of another library, in a layout that some family reads."""
    from anysize.core.verbs.load import load

    model: Any = load(path)
    sizes = [{"size": str(size), "bytes_to_load": 4 * model.at(size).cost().parameters} for size in model.nesting]
    facts = {
        "kind": model.kind,
        "nesting": str(model.nesting),
        "activation": getattr(model, "activation", None),
        "method": model.about.get("method"),
        "bytes_on_disk": bytes_on_disk(path),
    }
    return About(path, "model of another library", facts, sizes, f"anysize measure {path} ...")
