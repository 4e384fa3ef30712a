"""``anysize info``: what a path holds, which sizes, who made it, how many bytes each size takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from anysize.cli.options import Positional
from anysize.core.printable import printable

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.frontier.record import Record


@dataclass
class Info:
    """Say what a path holds: a nested model, an index, a frontier, data, or an ordinary sentence-transformers model."""

    path: Annotated[Path, Positional("PATH")]
    """A file or a folder."""
    verify: bool = False
    """Of an index: read every byte and compare it with what was written. Other uses read what they need alone."""

    def run(self) -> About:
        """Look for the file that says what it is; nothing but manifests and data is read."""
        from anysize.core.errors import AnysizeError, refused_as_damaged

        if self.verify:
            return _verified(self.path)
        if not self.path.exists():
            raise AnysizeError(f"{self.path} does not exist")
        with refused_as_damaged(f"what {self.path} says of itself cannot be read"):
            return self._about()

    def _about(self) -> About:
        from anysize.core.errors import AnysizeError
        from anysize.core.registry import names

        if self.path.is_file():
            return _file(self.path)
        for marker, describe in _FOLDERS.items():
            if any((self.path / name).is_file() for name in (marker, f"{marker}.gz")):
                return describe(self.path)
        if any((self.path / name).is_file() for name in names("layouts")):
            return _layout(self.path)
        raise AnysizeError(f"{self.path} holds none of {', '.join(_FOLDERS)}, so it is nothing that anysize knows")


@dataclass(frozen=True)
class About:
    """What a path holds."""

    path: Path
    what: str
    """``model``, ``model of another library``, ``index``, ``frontier``, ``data`` or ``sentence-transformers model``."""
    facts: dict[str, Any]
    """Name -> value, in the order in which they are told; a value of None is not told."""
    sizes: list[dict[str, Any]] = field(default_factory=list)
    """For each size ``size`` (as typed) and what it costs in bytes."""
    hint: str = ""
    """What to type next, where that helps."""

    def text(self) -> str:
        """A line a fact, a row a size."""
        lines = [f"{_words(self.path)}: {self.what}"]
        told = {name.replace("_", " "): value for name, value in self.facts.items() if value is not None}
        width = max(map(len, told), default=0)
        lines += [f"  {name.ljust(width)}  {_words(value)}" for name, value in told.items()]
        if self.sizes:
            heads = list(self.sizes[0])
            rows = [[head.replace("_", " ") for head in heads]]
            rows += [[_words(row[head]) for head in heads] for row in self.sizes]
            widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
            lines += ["", *("  " + "   ".join(map(str.rjust, row, widths)) for row in rows)]
        return "\n".join([*lines, *([f"next: {self.hint}"] if self.hint else [])])

    def to_json(self) -> dict[str, Any]:
        """The same, as plain values."""
        return {"path": str(self.path), "what": self.what, **self.facts, "sizes": self.sizes}


def _model(path: Path) -> About:
    from anysize.core.errors import CheckpointError, SizeError
    from anysize.core.model.manifest import bytes_at, read_manifest
    from anysize.core.sizes.nesting import Nesting

    manifest = read_manifest(path)
    try:
        nesting = Nesting.from_json(manifest["nesting"])
        stored = {size: {"bytes_per_item": 4 * size.dims} if "dims" in size else {} for size in nesting}
        sizes = [{"size": str(size), **stored[size], "bytes_to_load": bytes_at(manifest, size)} for size in nesting]
        about, kind, made_by = manifest.get("about", {}), manifest["kind"], manifest["made_by"]
    except (KeyError, TypeError, IndexError, SizeError) as error:
        raise CheckpointError(f"{path / 'anysize.json'} is damaged or was changed by hand ({error!r})") from None
    measured = (path / "frontier.json").is_file()
    facts = {
        "kind": kind,
        "nesting": str(nesting),
        "made_by": made_by,
        "method": about.get("method"),
        "base": about.get("options", {}).get("model"),
        **_object(manifest.get("facts")),
        **_prompts(_settings_of_model(path, manifest)),
        "learnt_from": about.get("data", {}).get("name"),
        "measured": measured,
        "fingerprint": manifest.get("fingerprint"),
        "verified": "all files"
        if "files" in manifest
        else "the weights alone: saved before other files were recorded; load it and save it again",
        "bytes_on_disk": _bytes_on_disk(path),
    }
    return About(path, "model", facts, sizes, f"anysize {'choose' if measured else 'measure'} {path} ...")


def _settings_of_model(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Prompts as sentence-transformers writes them, of the encoder in a model of ours or beside it."""
    config = _object(manifest.get("config"))
    config = _object(_object(config.get("inner")).get("config")) or config
    inside = _object(config.get("encoder")) or config
    if "prompts" in inside:
        own = {"prompts": inside["prompts"], "default_prompt_name": inside.get("default_prompt")}
        return {**own, "instructions": config.get("instructions")}
    return _optional(path / "encoder" / "config_sentence_transformers.json")


def _prompts(saved: dict[str, Any]) -> dict[str, Any]:
    """What goes before texts, by name."""
    told = {**_object(saved.get("prompts")), **_object(saved.get("instructions"))}
    return {
        "prompts": "; ".join(f"{name}: {prompt!r}" for name, prompt in told.items() if prompt) or None,
        "default_prompt": saved.get("default_prompt_name"),
    }


def _index(path: Path) -> About:
    from anysize.search.store.manifest import describe_plans, read_manifest

    manifest = read_manifest(path)
    blocks = [*manifest.bounds[1:]]
    written = {name for segment in manifest.segments for name in segment.files}  # small segments have no codes
    codes = [dims for dims in manifest.codes if f"codes-{dims}.faiss" in written]
    graph = manifest.hnsw if f"hnsw-{manifest.hnsw}.faiss" in written else None
    facts = {
        "items": manifest.count,
        "deleted": sum(segment.deleted_rows for segment in manifest.segments) or None,
        "dims": manifest.dims,
        "metric": manifest.metric,
        "codes": f"of the first {_words(codes)} dims" if codes else None,
        "hnsw": f"over the first {_words(graph)} dims" if graph else None,
        "search": describe_plans(manifest) if manifest.dims else None,
        "search_by_hnsw": describe_plans(manifest, graph=True) if graph else None,
        "sparse": f"codes over {_words(manifest.sparse.latents)} latents" if manifest.sparse else None,
        "model": manifest.model_path,
        "model_fingerprint": manifest.model_fingerprint,
        "bytes_on_disk": _bytes_on_disk(path),
    }
    rows = sum(segment.rows for segment in manifest.segments)
    sizes = [_size_of_index(size.dims, blocks, rows) for size in manifest.nesting if "dims" in size]
    query = '"..."' if manifest.source == "texts" else "--vector QUERY.npy"
    return About(path, "index", facts, sizes, f"anysize search {path} {query}")


def _verified(path: Path) -> About:
    from anysize.search import Index

    index = Index.open(path)
    index.verify()
    about = _index(path)
    return replace(about, facts={**about.facts, "verified": f"all {index.bytes:,} bytes of the segments are unaltered"})


def _size_of_index(dims: int, blocks: list[int], rows: int) -> dict[str, Any]:
    """A size and the bytes that an exact scan at it reads: whole blocks of coordinates, of every row."""
    read = next((stop for stop in blocks if stop >= dims), dims)
    return {"size": f"dims={dims}", "bytes_per_item": 4 * dims, "bytes_to_scan": 4 * read * rows}


def _sentence_transformers(path: Path) -> About:
    from anysize.core.files import read_json

    modules = read_json(path / "modules.json", "a sentence-transformers model")
    parts = [str(module.get("type", "?")).rpartition(".")[2] for module in modules]
    settings = [_optional(path / str(module.get("path", "")) / "config.json") for module in modules]
    keys = ("out_features", "word_embedding_dimension", "embedding_dimension")
    widths = [found[key] for found in reversed(settings) for key in keys if key in found]
    saved = _optional(path / "config_sentence_transformers.json")
    facts = {
        "parts": ", ".join(parts),
        "dims": widths[0] if widths else None,
        "truncated_to": saved.get("truncate_dim"),
        **_prompts(saved),
        "trained_dims": _optional(path / "config.json").get("matryoshka_dimensions"),
        "made_by": ", ".join(f"{name} {version}" for name, version in saved.get("__version__", {}).items()) or None,
        "bytes_on_disk": _bytes_on_disk(path),
    }
    return About(path, "sentence-transformers model", facts, hint=f"anysize fit DATA --model {path} --out MODEL")


def _file(path: Path) -> About:
    from anysize.core.frontier.frontier import Frontier
    from anysize.core.frontier.records import NESTED

    if path.suffix.lower() != ".json" or not _is_frontier(path):
        return _data(path)
    frontier = Frontier.from_json(path)
    arm = NESTED if NESTED in frontier.arms else frontier.arms[0]
    metric = frontier.metric
    sizes = [
        {
            "size": str(record.size),
            "bytes_per_item": record.bytes,
            metric: round(record.metrics[metric], 4),
            **_interval(record, metric),
        }
        for record in frontier.arm(arm)
    ]
    facts = {"metric": metric, "arms": ", ".join(frontier.arms), **frontier.meta}
    return About(path, "frontier", facts, sizes, f"anysize choose {path} --within 1%")


def _interval(record: Record, metric: str) -> dict[str, Any]:
    span = record.intervals.get(metric)
    return {} if span is None else {"interval": [round(end, 4) for end in span]}


def _is_frontier(path: Path) -> bool:
    """Whether a JSON file is no table of data: anything but a list, or an object of lists alone."""
    from anysize.core.files import read_json

    found = read_json(path, "a frontier")
    lists = isinstance(found, dict) and bool(found) and all(isinstance(column, list) for column in found.values())
    return not (isinstance(found, list) or lists)


def _data(path: Path) -> About:
    from anysize.core.data.read import read

    data = read(path)
    held = {split: sum(map(len, judged.values())) for split, judged in data.qrels.items()}
    facts = {
        "holds": _holds(data),
        "queries": len(data.queries) if data.queries else None,
        "judgements": ", ".join(f"{count} {split}" for split, count in held.items()) or None,
        "labels": len(set(data.labels)) if data.labels else None,
        "notes": list(data.notes) or None,
        "fingerprint": data.fingerprint,
    }
    return About(path, "data", facts, hint=f"anysize fit {path} --out MODEL")


def _holds(data: Data) -> str:
    if data.table is not None:
        return f"{len(data.table)} {data.table.what}"
    items = data.items()
    return f"{len(items)} texts" if items.vectors is None else f"{len(items)} vectors of {items.vectors.shape[1]} dims"


def _optional(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none."""
    import json

    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return _object(found)


def _object(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _bytes_on_disk(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(one, str) and " " in one for one in value) else ", ").join(map(_words, value))
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _layout(path: Path) -> About:
    """A model of another library, in a layout that some family reads."""
    from anysize.core.verbs.load import load

    model: Any = load(path)
    sizes = [{"size": str(size), "bytes_to_load": 4 * model.at(size).cost().parameters} for size in model.nesting]
    facts = {
        "kind": model.kind,
        "nesting": str(model.nesting),
        "activation": getattr(model, "activation", None),
        "method": model.about.get("method"),
        "bytes_on_disk": _bytes_on_disk(path),
    }
    return About(path, "model of another library", facts, sizes, f"anysize measure {path} ...")


_FOLDERS = {
    "anysize.json": _model,
    "index.json": _index,
    "modules.json": _sentence_transformers,
    "corpus.jsonl": _data,
}
