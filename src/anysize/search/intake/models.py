"""The model that an index was built with: recorded by fingerprint, found again by path, refused if it is another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from anysize.core.arguments import shown
from anysize.core.errors import AnysizeError, CheckpointError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.search.intake.items import Encoder
from anysize.search.store.manifest import Manifest

_FOR = " for "


def model_of(model: Encoder | str | os.PathLike[str] | None) -> tuple[Any, str | None]:
    """The model, loaded if its path is given, and its absolute path if that is known."""
    if model is None:
        return None, None
    if isinstance(model, (str, os.PathLike)):
        from anysize.core.verbs.load import load

        return load(model), str(Path(model).absolute())
    if isinstance(model, type) or not isinstance(model, Encoder):
        raise AnysizeError(f"{shown(model)} does not embed; expected a nested model that does, or the path of one")
    return model, None


def describe_model(model: Any, path: str | None) -> dict[str, Any]:
    """What the manifest records of a model."""
    if model is None:
        return {}
    return {"model_path": path, "model_fingerprint": _identity(model), "model_size": str(model.size)}


def _identity(model: Any) -> str:
    """A model's fingerprint, and the task of a view that embeds every text for one (a task encoder's)."""
    return str(model.fingerprint) if model.task is None else f"{model.fingerprint}{_FOR}{model.task}"


def _for_task(model: Any, manifest: Manifest) -> Any:
    """The model's view for the one task that the index was built for, if it was built for one."""
    task = (manifest.model_fingerprint or "").partition(_FOR)[2]
    return model.for_task(task) if task and model.tasks and model.task is None else model


def load_model(manifest: Manifest, directory: Path) -> Any:
    """The index's own model, at its size. Raises `CheckpointError` if it is gone or is another one now."""
    model = load_whole(manifest, directory, manifest.model_size)
    check_model(model, manifest, directory)
    return model


def load_whole(manifest: Manifest, directory: Path, size: str | None = None) -> Any:
    """The index's own model for its task, unchecked; with a size no more than that is read."""
    if manifest.model_size is None:
        raise AnysizeError(f"{directory} was built from vectors without a model; search it with a vector")
    if manifest.model_path is None:
        raise AnysizeError(f"{directory} does not know where its model is saved; open it with model=...")
    from anysize.core.verbs.load import load

    return _for_task(load(manifest.model_path, size), manifest)


def at_size(model: Any, manifest: Manifest) -> Any:
    """The view of `model` that runs at the index's size, and for its task."""
    model = _for_task(model, manifest)
    if manifest.model_size is None or str(model.size) == manifest.model_size:
        return model
    return model.at(Size.parse(manifest.model_size))


def check_model(model: Any, manifest: Manifest, directory: Path) -> None:
    """Raise `CheckpointError` if `model` is not the one that the index was built with, or runs at another size."""
    if manifest.model_size is None:
        raise CheckpointError(f"{directory} was built from vectors without a model, so no model can be used with it")
    if str(model.size) != manifest.model_size:
        raise CheckpointError(
            f"{directory} was built at {manifest.model_size} and the model runs at {model.size}; "
            f"use model.at({manifest.model_size}) or build the index again"
        )
    known = manifest.model_fingerprint
    if known is not None and _identity(model) != known:
        raise CheckpointError(
            f"{directory} was built with another model (fingerprint {_short(known)}, not {_short(_identity(model))}); "
            "use that model or build the index again"
        )


def _short(identity: str | None) -> str:
    fingerprint, between, task = str(identity).partition(_FOR)
    return f"{fingerprint[:12]}{between}{task}"


def nesting_of(width: int, nesting: Nesting | None, model: Any) -> Nesting:
    """The sizes of vectors `width` wide: those given, or the model's up to its own size, or the full one alone."""
    if nesting is None and model is not None and "dims" in model.nesting.axes:
        # Of a model with further axes, the widths it was trained for at the very depth it runs at.
        runs = [size.dims for size in model.nesting if size.replace(dims=model.size.dims) == model.size]
        nesting = Nesting(dims=[dims for dims in runs if dims <= model.size.dims])
    elif nesting is None:
        nesting = Nesting(dims=(width,))
    if nesting.axes != ("dims",):
        raise SizeError(f"an index is nested in dims alone; got {nesting!r}")
    if nesting.full.dims != width:
        raise SizeError(f"vectors of {width} coordinates do not fit a nesting up to {nesting.full}; make them equal")
    return nesting
