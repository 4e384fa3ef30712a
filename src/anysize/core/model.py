"""The contract of every nested model: know your sizes, run at one, cut one out, save and load by size."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from anysize.core import checkpoint
from anysize.core.cost import Cost
from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.files import new_directory, read_json, write_json
from anysize.core.registry import MANIFEST
from anysize.core.sizes import Nesting, Size

FORMAT = 1


class NestedModel(torch.nn.Module):
    """
    One set of weights that contains smaller working models as prefixes.

    A family subclasses it, says what is nested (`nested_tensors`), how to make an empty one (`config`, `build`),
    and how to run (`outputs`); views, saving, partial loading and extraction follow from that. `nesting` holds the
    trained sizes, `size` the one this view runs at, `about` how the model was made.
    """

    kind: ClassVar[str]
    """The name under which the class is registered in the entry-point group ``anysize.models``."""

    evaluators: ClassVar[tuple[str, ...]] = ()
    """Registered evaluators that can measure it, the preferred first."""

    def __init__(self, nesting: Nesting) -> None:
        super().__init__()
        self.nesting = nesting
        self.size = nesting.full
        self.about: dict[str, Any] = {}
        self._fingerprint: str | None = None

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

    def arm(self, name: str, data: Any) -> list[NestedModel]:
        """
        Views of a rival called `name` (``truncate``, ``pca``, ``single``, ``original``), one per size it offers.

        Raises `AnysizeError`, naming the rivals there are.
        """
        raise AnysizeError(f"a model of kind {self.kind!r} has no rival called {name!r}")

    def save_parts(self, directory: Path) -> None:
        """Write what is not in the state dict (for example a backbone in its own format)."""

    def load_parts(self, directory: Path) -> None:
        """Attach what `save_parts` wrote; called after the weights are loaded."""

    # What follows from it

    def forward(self, example: Any) -> torch.Tensor:
        """The output at this view's size."""
        return self.outputs(example, (self.size,))[self.size]

    def at(self, size: Size | None = None, /, **axes: int) -> Self:
        """
        A view at a trained size that shares these weights and runs only what that size needs.

        Raises `SizeError`, naming the trained sizes, for any other.
        """
        view = copy.copy(self)
        view.size = self.nesting.resolve(size, **axes)
        return view

    def extract(self, size: Size | None = None, /, **axes: int) -> Any:
        """A standalone copy that holds only the weights of one size (and of the sizes inside it)."""
        chosen = self.nesting.resolve(size, **axes) if size or axes else self.size
        small = type(self).build(self.config(), self.nesting.up_to(chosen))
        keep, nested = _kept(self, chosen), self.nested_tensors()
        state = self.state_dict()
        for name, length in keep.items():
            state[name] = state[name].narrow(nested[name][1], 0, length).clone()
        small.load_state_dict(state)
        small.about, small._fingerprint = dict(self.about), self.fingerprint
        return small

    @property
    def fingerprint(self) -> str:
        """Identifies the weights this model came from; a partial load keeps the fingerprint of the whole."""
        if self._fingerprint is None:
            digest = hashlib.sha256(json.dumps(self.config(), sort_keys=True).encode())
            for name, tensor in sorted(self.state_dict().items()):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write safetensors + JSON at `path`, in one step. Replaces an older anysize model, nothing else."""
        from anysize import __version__

        nested = self.nested_tensors()
        cuts = {name: checkpoint.Cuts(dim, self.nesting.levels(axis)) for name, (axis, dim) in nested.items()}
        with new_directory(path, marker=MANIFEST) as directory:
            entries = checkpoint.write_blocks(directory, self.state_dict(), cuts)
            self.save_parts(directory)
            write_json(
                directory / MANIFEST,
                {
                    "format": FORMAT,
                    "kind": self.kind,
                    "made_by": f"anysize {__version__}",
                    "nesting": self.nesting.to_json(),
                    "config": self.config(),
                    "about": self.about,
                    "fingerprint": self.fingerprint,
                    "nested": {name: list(where) for name, where in nested.items()},
                    "tensors": entries,
                },
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str], size: Size | None = None, /, **axes: int) -> Self:
        """
        Read a model that `save` wrote; with a size, read only the weights of that size.

        Raises `CheckpointError` (missing, damaged, of another kind or a newer format) or `SizeError`.
        """
        directory = Path(path)
        manifest = read_json(directory / MANIFEST, "an anysize model")
        if manifest.get("kind") != cls.kind:
            raise CheckpointError(f"{directory} holds a model of kind {manifest.get('kind')!r}, not {cls.kind!r}")
        if manifest.get("format") != FORMAT:
            raise CheckpointError(f"{directory} has format {manifest.get('format')}; this version reads {FORMAT}")
        nesting = Nesting.from_json(manifest["nesting"])
        chosen = nesting.resolve(size, **axes)
        model = cls.build(manifest["config"], nesting.up_to(chosen))
        model.load_state_dict(checkpoint.read_blocks(directory, manifest["tensors"], _kept(model, chosen)))
        model.about, model._fingerprint = manifest["about"], manifest["fingerprint"]
        model.load_parts(directory)
        return model.eval()


def _kept(model: NestedModel, size: Size) -> dict[str, int]:
    return {name: size[axis] for name, (axis, _) in model.nested_tensors().items()}
