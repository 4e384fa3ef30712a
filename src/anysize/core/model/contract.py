"""The contract of every nested model: know your sizes, run at one, cut one out, save and load by size."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from anysize.core.arguments import PATH, takes
from anysize.core.digests import remember
from anysize.core.engine_checks import Exported
from anysize.core.errors import AnysizeError, CheckpointError, SizeError, refused_as_damaged
from anysize.core.files import new_directory
from anysize.core.model import checkpoint
from anysize.core.model.cost import Cost
from anysize.core.model.in_words import in_words
from anysize.core.model.manifest import MANIFEST, Parts, entries_at, needed, read_manifest, write_manifest
from anysize.core.registry import named
from anysize.core.shortly import shortly
from anysize.core.sizes.menu import Value
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.version import __version__


class NestedModel(torch.nn.Module):
    """
    One set of weights that contains smaller working models as prefixes.

    A family subclasses it, says what is nested (`nested_tensors`), how to make an empty one (`config`, `build`),
    and how to run (`outputs`); views, saving, partial loading and extraction follow from that. `nesting` holds the
    trained sizes, `size` the one this view runs at, `about` how the model was made.
    """

    kind: ClassVar[str]
    """The name under which the class is registered in the entry-point group ``anysize.models``."""

    evaluators: tuple[str, ...] = ()
    """Registered evaluators that can measure it, the preferred first; the kind's, unless how it was made decides it."""

    rivals: ClassVar[Mapping[str, str]] = {}
    """What it can be measured beside: a rival's name -> ``"module:function"``, ``function(model, data)`` -> its views,
    smallest first. ``original`` is the untouched model that it was made from."""

    usual: ClassVar[tuple[str, ...]] = ()
    """Those of its rivals that it is measured beside without being asked."""

    mixes_sizes: ClassVar[bool] = False
    """Whether a query may be embedded at one size and compared with documents of another."""

    exports: ClassVar[Mapping[str, str]] = {}
    """Formats of other libraries: a name -> ``"module:function"``, ``function(view, path, **options)`` -> `Exported`,
    which writes a view at its size. The first is the default."""

    later: ClassVar[tuple[str, ...]] = ()
    """Folders of `save_parts` that are read when first needed; whoever does so calls `parts.check(folder)` before."""

    shares: ClassVar[tuple[str, ...]] = ()
    """Axes of which it runs a share, as ``audio=1/16``; all others it counts in whole numbers."""

    def __init__(self, nesting: Nesting) -> None:
        super().__init__()
        for axis in nesting.full.shares:
            if axis not in self.shares:
                raise SizeError(f"{type(self).__name__} counts {axis} in whole numbers; got {nesting.full}")
        self.nesting = nesting
        self.size = nesting.full
        self.about: dict[str, Any] = {}
        self.parts: Parts | None = None
        """The files beside the weights, of a model that was loaded."""
        self._fingerprint: tuple[str, tuple[tuple[str, int], ...]] | None = None

    # What a family says about itself

    def outputs(self, example: Any, sizes: tuple[Size, ...] | None = None) -> dict[Size, torch.Tensor]:
        """Run once and return the output at every size asked for (default: all trained sizes)."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it runs")

    def cost(self) -> Cost:
        """What running at `self.size` costs: bytes per item, parameters, FLOPs per item."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it costs")

    def config(self) -> dict[str, Any]:
        """Everything besides weights and nesting that `build` needs; plain JSON values."""
        raise NotImplementedError(f"{type(self).__name__} has no configuration")

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Self:
        """An untrained model of this configuration and nesting, ready for `load_state_dict`."""
        raise NotImplementedError(f"{cls.__name__} cannot be built from a configuration")

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """State-dict name -> (axis whose prefix cuts it, tensor dimension that is cut). Others are kept whole."""
        return {}

    def owned_tensors(self) -> dict[str, Size]:
        """State-dict name -> the smallest size that reads it (one axis or more); smaller sizes do without it."""
        return {}

    def saved_state(self) -> dict[str, torch.Tensor]:
        """The weights that are saved: all, unless a family holds modules that are not its own."""
        return self.state_dict()

    def save_parts(self, directory: Path) -> None:
        """Write what is not in the state dict (for example a backbone in its own format)."""

    def load_parts(self, directory: Path) -> None:
        """Attach what `save_parts` wrote; called after the weights are loaded."""

    # What follows from it

    @shortly
    def __repr__(self) -> str:
        return in_words(self.nesting, self.size, (*self.parameters(), *self.buffers()), self.about)

    def forward(self, example: Any) -> torch.Tensor:
        """The output at this view's size."""
        return self.outputs(example, (self.size,))[self.size]

    def at(self, size: Size | str | None = None, /, **axes: Value | str) -> Self:
        """
        A view at a trained size, as numbers (``dims=64``, ``audio="1/16"``), text or a name, that shares these weights
        and runs only what that size needs.

        Raises `SizeError`, naming the trained sizes, for any other.
        """
        view = copy.copy(self)
        view.size = self.nesting.resolve(size, **axes)
        return view

    def extract(self, size: Size | str | None = None, /, **axes: Any) -> Any:
        """A standalone copy that holds only the weights of one size (and of the sizes inside it)."""
        chosen = self.nesting.resolve(size, **axes) if size is not None or axes else self.size
        small = type(self).build(self.config(), self.nesting.up_to(chosen))
        owned, nested, keep = self.owned_tensors(), self.nested_tensors(), kept_at(self, chosen)
        state = {name: value for name, value in self.saved_state().items() if needed(owned.get(name), chosen)}
        for name, length in keep.items():
            state[name] = state[name].narrow(nested[name][1], 0, length)
        _fill(small, {name: value.detach().clone() for name, value in state.items()})
        small.about = dict(self.about)
        small._keep_fingerprint(self.fingerprint)
        return small.train(self.training)

    def export(self, path: str | os.PathLike[str], form: str | None = None, **options: Any) -> Exported:
        """
        Write this view's size in a format of another library: one of `exports`, the first by default.

        Raises `AnysizeError` for another format, or one that cannot hold this model; then nothing is written.
        """
        formats = list(self.exports)
        if not formats or (form is not None and form not in formats):
            there = f"expected one of {', '.join(formats)}" if formats else "which has no other format; save it"
            asked = "to export" if form is None else f"as {form}"
            raise AnysizeError(f"a model of kind {self.kind!r} cannot be written {asked}; {there}")
        done: Exported = named(self.exports[form or formats[0]])(self, path, **options)
        return done

    @property
    def fingerprint(self) -> str:
        """
        Identifies the weights this model came from; a partial load keeps the fingerprint of the whole.

        It changes when the weights do, so a model that is trained further is another model.
        """
        if self._fingerprint is None or self._fingerprint[1] != self._versions():
            digest = hashlib.sha256(json.dumps(self.config(), sort_keys=True).encode())
            for name, tensor in sorted(self.saved_state().items()):
                digest.update(name.encode())
                digest.update(checkpoint.raw_bytes(tensor))
            self._keep_fingerprint(digest.hexdigest())
        assert self._fingerprint is not None
        return self._fingerprint[0]

    def _keep_fingerprint(self, value: str) -> None:
        self._fingerprint = (value, self._versions())

    def _versions(self) -> tuple[tuple[str, int], ...]:
        """Torch counts how often a tensor was written (none of `inference_mode`); moving it does not count."""
        return tuple(
            (name, 0 if tensor.is_inference() else tensor._version) for name, tensor in self.saved_state().items()
        )

    @takes(path=PATH)
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write safetensors + JSON at `path`, in one step. Replaces an older anysize model, nothing else."""
        nested = self.nested_tensors()
        cuts = {name: checkpoint.Cuts(dim, self.nesting.values(axis)) for name, (axis, dim) in nested.items()}
        with new_directory(path, marker=MANIFEST) as directory:
            entries = checkpoint.write_blocks(directory, self.saved_state(), cuts)
            self.save_parts(directory)
            content = {
                "kind": self.kind,
                "made_by": f"anysize {__version__}",
                "nesting": self.nesting.to_json(),
                "config": self.config(),
                "about": self.about,
                "fingerprint": self.fingerprint,
                "nested": {name: list(where) for name, where in nested.items()},
                "owned": {name: size.to_json() for name, size in self.owned_tensors().items()},
                "tensors": entries,
            }
            header = checkpoint.header_digest(directory)
            written = write_manifest(directory, content, checkpoint.WEIGHTS, header)
        remember({Path(path) / name: digest for name, digest in written.items()})

    @classmethod
    @torch.inference_mode(False)  # weights made in that mode could not be trained, nor told from changed ones
    def load(cls, path: str | os.PathLike[str], size: Size | str | None = None, /, **axes: Value | str) -> Self:
        """
        Read a model that `save` wrote; with a size, read only the weights of that size.

        Raises `CheckpointError` (missing, altered, of another kind or a newer format) or `SizeError`.
        """
        directory = Path(path)
        manifest = read_manifest(directory, cls.kind)
        nesting = Nesting.from_json(manifest["nesting"])
        chosen = nesting.resolve(size, **axes)
        parts = Parts(directory, manifest)
        parts.check_at_loading(cls.later)
        with refused_as_damaged(f"{directory} describes no model that can be built"):
            model = cls.build(manifest["config"], nesting.up_to(chosen))
            keep = kept_at(model, chosen)
        return model.filled(parts, manifest, entries_at(manifest, chosen), keep)

    def filled(
        self, parts: Parts, manifest: Mapping[str, Any], entries: Mapping[str, Any], keep: Mapping[str, int]
    ) -> Self:
        """Take the weights that `entries` of a manifest name, each up to `keep[name]`; in place, gives itself."""
        self.parts, directory = parts, parts.directory
        known, header = manifest["tensors"], parts.header
        state = checkpoint.read_blocks(directory, entries, keep, known=known, header=header)
        try:
            _fill(self, state)
        except RuntimeError as error:
            raise CheckpointError(f"{directory} does not fit its own description ({error})") from None
        self.about = manifest["about"]
        with refused_as_damaged(f"what lies beside the weights in {directory} cannot be read"):
            self.load_parts(directory)
        self._keep_fingerprint(manifest["fingerprint"])
        return self.eval()


def _fill(model: NestedModel, state: dict[str, torch.Tensor]) -> None:
    """Give the model these tensors as they are, in the precision they have; whatever is not saved stays."""
    expected = model.saved_state().keys()
    for what, names in (("misses", expected - state.keys()), ("has an unknown", state.keys() - expected)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise RuntimeError(f"it {what} {min(names)}{more}")
    model.load_state_dict(state, strict=False, assign=True)


def kept_at(model: NestedModel, size: Size) -> dict[str, int]:
    """How far a size reads each nested tensor along its dimension."""
    return {name: size[axis] for name, (axis, _) in model.nested_tensors().items()}
