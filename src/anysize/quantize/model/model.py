"""
Any nested model with its layers stored as codes: the axis ``bits`` beside whatever axes the model has (MatQuant).

`Quantized` wraps a model of another family, whose layers it replaced, and knows of it only the contract. One pass
runs all layers at one width, or (Mix'n'Match, section 3.3 of the paper) each at its own.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from anysize.core.arguments import MAPPING, takes
from anysize.core.errors import CheckpointError, SizeError, refused_as_damaged
from anysize.core.model.contract import NestedModel, kept_at
from anysize.core.model.cost import Cost
from anysize.core.model.manifest import Parts, read_manifest
from anysize.core.registry import find
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.quantize.codes.running import running_at
from anysize.quantize.codes.slicing import planes_needed
from anysize.quantize.layers.names import resolve
from anysize.quantize.layers.preparing import empty_stored
from anysize.quantize.layers.stored import Stored
from anysize.quantize.model.inner import BITS, floating, inner_nesting, plain_costs, without_weights
from anysize.quantize.model.plan import Plan

INNER = "inner."


class Quantized(NestedModel):
    """
    `inner` at every width of its codes. Axes of `inner` that the nesting does not name stay at their largest value.

    Bytes are those of the weights that a size reads: planes, scales, and what is not quantised.
    """

    rivals: ClassVar[Mapping[str, str]] = {
        "minmax": "anysize.quantize.training.rivals:minmax",
        "sliced": "anysize.quantize.training.rivals:sliced",
        "single": "anysize.core.verbs.rivals:single",
        "original": "anysize.quantize.training.rivals:original",
    }
    usual = ("minmax",)
    exports: ClassVar[Mapping[str, str]] = {
        "safetensors": "anysize.quantize.export.formats:safetensors",
        "onnx": "anysize.quantize.export.formats:onnx",
        "gguf": "anysize.quantize.export.formats:gguf",
        "compressed-tensors": "anysize.quantize.export.formats:compressed_tensors",
    }

    def __init__(self, nesting: Nesting, inner: NestedModel, plan: Plan, plain: dict[Size, Cost]) -> None:
        super().__init__(nesting)
        if BITS not in nesting.axes:
            raise SizeError(f"a quantised model is nested in bits; got {', '.join(nesting.axes)}")
        self.inner, self.plan, self._plain = inner, plan, plain
        self.mixture: Mapping[str, int] | None = None
        """Layer -> width, in a view that `mix` made."""

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], *, bits: int | Mapping[str, int] | None = None) -> Self:
        """
        A saved model; with `bits`, only the planes of that width are read. A mapping gives a width per layer (`mix`).

        Raises `CheckpointError` or `SizeError` as `load` does.
        """
        given: dict[str, Any] = {} if bits is None else {BITS: bits}
        return cls.load(path, **given)

    # Running

    @property
    def inner_size(self) -> Size:
        """The size at which `inner` runs in this view."""
        return self._inside(self.size)

    def _inside(self, size: Size) -> Size:
        return self.inner.nesting.full.replace(**{axis: size[axis] for axis in size if axis != BITS})

    @contextlib.contextmanager
    def running(self) -> Iterator[Any]:
        """The inner model's view, while every layer runs at this view's width."""
        with running_at(self.size.bits if self.mixture is None else self.mixture):
            yield self.inner.at(self.inner_size)

    def outputs(self, example: Any, sizes: tuple[Size, ...] | None = None) -> dict[Size, torch.Tensor]:
        """One pass of the inner model per width; sizes of one width share it."""
        asked = self.nesting.resolve_all(sizes)
        found: dict[Size, torch.Tensor] = {}
        for bits in dict.fromkeys(size.bits for size in asked):
            here = [size for size in asked if size.bits == bits]
            mixed = self.mixture is not None and self.size in here
            with running_at(self.mixture if mixed and self.mixture is not None else bits):
                given = self.inner.outputs(example, tuple(dict.fromkeys(self._inside(size) for size in here)))
            found.update({size: given[self._inside(size)] for size in here})
        return {size: found[size] for size in asked}

    def at(self, size: Size | str | None = None, /, **axes: Any) -> Self:
        """A view at a trained size; ``at(bits={"layers.0": 2, ...})`` gives a width per layer, as `mix` does."""
        if isinstance(axes.get(BITS), Mapping):
            widths = axes.pop(BITS)
            return (self.at(size, **axes) if size is not None or axes else self.at()).mix(widths)
        view = super().at(size, **axes)
        view.mixture = None
        return view

    @takes(widths=MAPPING)
    def mix(self, widths: Mapping[str, int]) -> Self:
        """
        A view in which layers run at widths of their own; what no key names stays at the widest.

        A key is ``layers.3`` (a block), ``layers.3.*`` with more of a name, or any pattern over `layers()`. Raises
        `AnysizeError` for a key that names nothing or parts layers that engines fuse, `SizeError` for other widths.
        """
        view = copy.copy(self)
        view.mixture = resolve(self.inner, self.layers(), self.nesting, widths)
        return view

    def keep_floats(self, keep: bool) -> None:
        """Whether layers keep the floats of the width that ran last: faster, but they take the memory of floats."""
        for part in self.layers().values():
            part.keep = keep
            part._kept = None

    def layers(self) -> dict[str, Stored]:
        """The layers that are stored as codes, by name."""
        return {name: part for name, part in self.inner.named_modules() if isinstance(part, Stored)}

    def plain(self) -> NestedModel:
        """The inner model as this view runs it, with floats in place of codes: a copy that shares nothing."""
        twin = copy.deepcopy(self.inner)
        for name, part in self.layers().items():
            bits = self.size.bits if self.mixture is None else self.mixture[name]
            twin.set_submodule(name, floating(part, bits))
        twin.about = copy.deepcopy(self.about)
        return twin

    # The contract

    def cost(self) -> Cost:
        """Bytes of the weights that this size reads; parameters and FLOPs of the inner model there."""
        size, inside = self.size, self.inner_size
        inner = self._plain[inside]
        layers = self.layers()
        owned, nested = self.owned_tensors(), self.nested_tensors()
        count = 0
        for name, tensor in self.saved_state().items():
            layer, _, part = name.removeprefix(INNER).rpartition(".")
            owner = owned.get(name)
            if owner is not None and any(owner[axis] > size[axis] for axis in owner if axis != BITS):
                continue
            if layer in layers and part.startswith("plane_"):
                bits = size.bits if self.mixture is None else self.mixture[layer]
                scheme = layers[layer].scheme
                if int(part.removeprefix("plane_")) >= planes_needed(bits, scheme.parent_bits, scheme.mode):
                    continue
            whole = tensor.nbytes
            if name in nested:
                axis, dim = nested[name]
                whole = whole * size[axis] // tensor.shape[dim]
            count += whole
        return Cost(bytes=count, parameters=inner.parameters, flops=inner.flops)

    def extract(self, size: Size | str | None = None, /, **axes: int) -> Any:
        """A standalone model with float weights in the inner model's own export format; it loads without anysize."""
        view = self.at(size, **axes) if size is not None or axes else self
        return view.plain().extract(view.inner_size)

    def config(self) -> dict[str, Any]:
        """The inner model's kind and configuration, and how its layers are stored."""
        fixed = {axis: value for axis, value in self.inner.nesting.full.items() if axis not in self.nesting.axes}
        inner = {"kind": self.inner.kind, "config": self.inner.config(), "fixed": fixed}
        return {"inner": inner, **self.plan.to_json()}

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Self:
        """A model with room for the planes of the widest size; other weights take no memory until they are loaded."""
        plan = Plan.from_json(config)
        inside = config["inner"]
        with without_weights():
            inner = find("models", inside["kind"]).build(inside["config"], inner_nesting(nesting, inside["fixed"]))
        plain = plain_costs(inner)
        there = dict(inner.named_modules())
        for name in plan.layers:
            if name in there:  # else it stands in a block deeper than this size
                room = empty_stored(
                    there[name], plan.scheme, nesting.full.bits, name, plan.layout, transformed=name in plan.transformed
                )
                inner.set_submodule(name, room)
        return cls(nesting, inner, plan, plain)

    @classmethod
    def load(cls, path: str | os.PathLike[str], size: Size | str | None = None, /, **axes: Any) -> Self:
        """
        Read a saved model; with a size, only that size's planes. Says which planes a damaged file lacks.

        ``load(path, bits={"layers.0": 2, ...})`` reads of every layer the planes of its own width; see `mix`.
        """
        if isinstance(axes.get(BITS), Mapping):
            return cls._load_mixed(Path(path), axes.pop(BITS), size, axes)
        manifest = read_manifest(Path(path), cls.kind)
        with refused_as_damaged(f"{path} describes no model that can be built"):
            plan = Plan.from_json(manifest["config"])
        _check_planes(Path(path), plan, Nesting.from_json(manifest["nesting"]).resolve(size, **axes), manifest)
        return super().load(path, size, **axes)

    @classmethod
    def _load_mixed(cls, directory: Path, widths: Mapping[str, int], size: Any, axes: Mapping[str, int]) -> Self:
        manifest = read_manifest(directory, cls.kind)
        parts = Parts(directory, manifest)
        parts.check_at_loading(cls.later)
        nesting = Nesting.from_json(manifest["nesting"])
        chosen = nesting.resolve(size, **axes) if size is not None or axes else nesting.full
        with refused_as_damaged(f"{directory} describes no model that can be built"):
            whole = cls.build(manifest["config"], nesting.up_to(chosen)).at(chosen)
        model = whole.mix(widths)
        assert model.mixture is not None
        for name, part in model.layers().items():
            part.narrow(model.mixture[name])
        there = model.saved_state().keys()
        entries = {name: entry for name, entry in manifest["tensors"].items() if name in there}
        return model.filled(parts, manifest, entries, kept_at(model, chosen))

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """Those of the inner model, on axes that this model has."""
        return {
            INNER + name: where for name, where in self.inner.nested_tensors().items() if where[0] in self.nesting.axes
        }

    def owned_tensors(self) -> dict[str, Size]:
        """A plane belongs to the narrowest width whose slice depends on it; the rest as in the inner model."""
        owned: dict[str, dict[str, int]] = {}
        for name, size in self.inner.owned_tensors().items():
            owned[name] = {axis: value for axis, value in size.items() if axis in self.nesting.axes}
        levels = self.nesting.values(BITS)
        for layer, part in self.layers().items():
            for place in range(part.count if part.layout == "planes" else 0):
                scheme = part.scheme
                reads = (bits for bits in levels if planes_needed(bits, scheme.parent_bits, scheme.mode) > place)
                owned.setdefault(f"{layer}.plane_{place}", {})[BITS] = next(reads, levels[-1])
        return {INNER + name: Size(values) for name, values in owned.items() if values}

    def saved_state(self) -> dict[str, torch.Tensor]:
        """The inner model's."""
        return {INNER + name: value for name, value in self.inner.saved_state().items()}

    def save_parts(self, directory: Path) -> None:
        """The inner model's."""
        self.inner.save_parts(directory)

    def load_parts(self, directory: Path) -> None:
        """The inner model's."""
        self.inner.load_parts(directory)


def _check_planes(directory: Path, plan: Plan, size: Size, manifest: Mapping[str, Any]) -> None:
    if plan.layout != "planes":
        return
    needed = planes_needed(size.bits, plan.scheme.parent_bits, plan.scheme.mode)
    there = manifest["tensors"].keys()
    deep = {name for name in plan.layers if f"{INNER}{name}.scale" in there}
    for name in plan.layers:
        missing = [str(place) for place in range(needed) if f"{INNER}{name}.plane_{place}" not in there]
        if missing and (name in deep or len(missing) == needed):
            raise CheckpointError(
                f"{directory} lacks the bit planes {', '.join(missing)} of {name}, which bits={size.bits} needs; "
                "load a narrower width or copy the whole model again"
            )
