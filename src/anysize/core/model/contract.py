"""The contract of every nested model: know your sizes, run at one, cut one out, save and load by size."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, final

import torch

from anysize.core.arguments import PATH, shown, takes
from anysize.core.digests import remember
from anysize.core.engine_checks import Exported
from anysize.core.errors import AnysizeError, CheckpointError, refused_as_damaged
from anysize.core.files import new_directory
from anysize.core.model import checkpoint
from anysize.core.model.hooks import ModelHooks
from anysize.core.model.in_words import in_words
from anysize.core.model.manifest import MANIFEST, Parts, entries_at, needed, read_manifest, write_manifest
from anysize.core.model.mixing import by_size
from anysize.core.registry import named
from anysize.core.shortly import shortly
from anysize.core.sides import Side
from anysize.core.sizes.menu import Value
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.version import __version__


class NestedModel(ModelHooks):
    """
    One set of weights that contains smaller working models as prefixes.

    A family subclasses it, says what is nested (`nested_tensors`), how to make an empty one (`config`, `build`),
    and how to run (`_outputs`); views, saving, partial loading and extraction follow from that. `nesting` holds the
    trained sizes, `size` the one this view runs at, `about` how the model was made.
    """

    @final
    def outputs(self, example: Any, sizes: Iterable[Size | str] | None = None) -> dict[Size, torch.Tensor]:
        """Run once and return the output at every size asked for (default: all trained sizes)."""
        return self._outputs(example, self.nesting.resolve_all(sizes))

    @shortly
    def __repr__(self) -> str:
        return in_words(self.nesting, self.size, (*self.parameters(), *self.buffers()), self.about)

    def forward(self, example: Any) -> torch.Tensor:
        """The output at this view's size."""
        return self.outputs(example, (self.size,))[self.size]

    def run_mixed(self, items: Any, sizes: Sequence[Size], *, side: Side | None = None) -> list[Any]:
        """
        What `run` gives for each item at a size of its own; an item that is wanted at two sizes is given twice.

        Here one run for each distinct size; families whose sizes can share work make one pass of it.
        """
        return by_size(items, sizes, lambda size, part: self.at(size).run(part, side=side))

    def at(self, size: Size | str | None = None, /, **axes: Value | str) -> Self:
        """
        A view at a trained size, as numbers (``dims=64``, ``audio="1/16"``), text or a name, that shares these weights
        and runs only what that size needs.

        Raises `SizeError`, naming the trained sizes, for any other.
        """
        view = copy.copy(self)
        view.size = self.nesting.resolve(size, **axes)
        return view

    def extract(self, size: Size | str | None = None, /, **axes: Any) -> Self:
        """A standalone model of this kind that holds only the weights of one size (and of the sizes inside it)."""
        chosen = self.nesting.resolve(size, **axes) if size is not None or axes else self.size
        return self._copied_into(type(self).build(self.config(), self.nesting.up_to(chosen)), chosen)

    @final
    def for_task(self, task: str | None) -> Self:
        """
        A view that shares all weights and runs for one of `tasks`; the model itself for None.

        Raises `AnysizeError`, naming those there are, for another task, and for any where there are none.
        """
        if task is None:
            return self
        if task not in self.tasks:
            there = f"it has {', '.join(self.tasks)}" if self.tasks else "it has none; leave it out"
            raise AnysizeError(f"a model of kind {self.kind!r} was asked for the task {shown(task)}, but {there}")
        view = copy.copy(self)
        view.task = task
        return view

    def _copied_into(self, small: Self, chosen: Size) -> Self:
        """Give `small`, which has room for the weights of one size, copies of them and of what lies beside them."""
        owned, nested, keep = self.owned_tensors(), self.nested_tensors(), kept_at(self, chosen)
        there = small.saved_state().keys()
        state = {name: value for name, value in self.saved_state().items() if needed(owned.get(name), chosen)}
        state = {name: value for name, value in state.items() if name in there}
        for name, length in keep.items():
            state[name] = state[name].narrow(nested[name][1], 0, length)
        _fill(small, {name: value.detach().clone() for name, value in state.items()})
        small.take_parts(self)
        for value in list(state.values())[:1]:
            small.to(value.device)  # what is computed and not saved was made on the CPU
        small.task, small.about = self.task, copy.deepcopy(self.about)
        small._keep_fingerprint(self.fingerprint)
        return small.train(self.training)

    def convert(self, to: str | None = None) -> Any:
        """
        Make an object of another library of this view's size: one of `converts`, the first by default.

        It shares nothing with the model. Raises `AnysizeError` for another name, or a model that cannot become one.
        """
        return named(self.converts[self._form(self.converts, to, "converted to", "extract it")])(self)

    def export(self, path: str | os.PathLike[str], form: str | None = None, **options: Any) -> Exported:
        """
        Write this view's size in a format of another library: one of `exports`, the first by default.

        Raises `AnysizeError` for another format, or one that cannot hold this model; then nothing is written.
        """
        chosen = self._form(self.exports, form, "written as", "save it")
        done: Exported = named(self.exports[chosen])(self, path, **options)
        return done

    def _form(self, forms: Mapping[str, str], asked: str | None, verb: str, instead: str) -> str:
        """What is asked for, or the first. Raises `AnysizeError`, naming those there are, if it is none of them."""
        if asked in forms or (asked is None and forms):
            return next(iter(forms)) if asked is None else asked
        there = f"expected one of {', '.join(forms)}" if forms else f"it knows no other library, so {instead}"
        what = verb.partition(" ")[0] if asked is None else f"{verb} {asked}"
        raise AnysizeError(f"a model of kind {self.kind!r} cannot be {what}; {there}")

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
                "facts": self.facts(self.config()),
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
