"""
What every nested model promises, as one check to run on a new family: `check_nested_model(model, example)`.

Each promise is a function below whose docstring is the promise. A broken one raises an `AssertionError` of one
sentence, with the size at which it broke.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from anysize.core.errors import CheckpointError, SizeError
from anysize.core.model import checkpoint
from anysize.core.model.case import Case
from anysize.core.model.contract import NestedModel
from anysize.core.model.manifest import MANIFEST, bytes_read, entries_at, wanted_blocks
from anysize.core.registry import named
from anysize.core.scratch import temporary_folder
from anysize.core.sizes.menu import written
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


def check_nested_model(
    model: NestedModel,
    example: Any,
    *,
    plain: Callable[[Any], torch.Tensor] | None = None,
    shape: Callable[[Size], tuple[int, ...]] | None = None,
    atol: float = 1e-4,
    items: Any = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """
    Check every promise of a nested model on an example; raises `AssertionError` at the first broken one.

    `plain(example)` is the same model without any nesting, compared with the full size; without it, the full size is
    compared with what the model gives when no size is named. `shape(size)` is the shape of the output there; without
    it, every size must have as many axes and rows as the full one. Outputs may differ by `atol`, relative to the
    largest value above 1. `items` and `options` are what the model's `run` takes: without them, the example, and none.
    The model and its example lie on the CPU.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), temporary_folder() as scratch:
            run = (example if items is None else items, options or {})
            case = Case(model, example, plain, shape, atol, scratch / "model", *run)
            for promise in PROMISES:
                _keep(promise, case)
    finally:
        model.train(training)


def _keep(promise: Callable[[Case], None], case: Case) -> None:
    try:
        promise(case)
    except AssertionError:
        raise
    except Exception as error:
        name = promise.__name__.replace("_", " ").strip()
        sentence = f"{type(case.model).__name__}: could not check {name}, {type(error).__name__}: {error}"
        raise AssertionError(sentence) from error


def _finite_and_of_shape(case: Case) -> None:
    """Every size gives finite values of the promised shape."""
    found = case.model.outputs(case.example)
    sizes = _listed(case.model.nesting)
    case.require(set(found) == set(case.model.nesting), f"outputs gives sizes {_listed(found)}, not {sizes}")
    full = found[case.model.nesting.full]
    for size, output in found.items():
        case.require(bool(torch.isfinite(output).all()), f"the output at {size} holds NaN or infinite values")
        if case.shape is not None:
            wanted = tuple(case.shape(size))
            case.require(tuple(output.shape) == wanted, f"{size} gives shape {tuple(output.shape)}, not {wanted}")
        case.require(
            output.dim() == full.dim() and output.shape[:1] == full.shape[:1],
            f"{size} gives shape {tuple(output.shape)} beside {tuple(full.shape)} at full size",
        )


def _one_pass(case: Case) -> None:
    """What one pass gives for a size is what running at that size gives, asked alone or through its view."""
    for size, output in case.model.outputs(case.example, tuple(_tried(case.model.nesting))).items():
        alone = case.model.outputs(case.example, (size,))
        case.require(set(alone) == {size}, f"asked for {size} alone, outputs gives {_listed(alone)}")
        case.same(alone[size], output, f"running at {size} alone differs from that size in one pass over all")
        case.same(case.model.at(size)(case.example), output, f"the view at {size} differs from one pass over all")


def _full_is_plain(case: Case) -> None:
    """The full size is the model itself."""
    full = case.model.nesting.full
    output = case.model.at(full)(case.example)
    plain = case.plain or case.model.at()
    case.same(output, plain(case.example), f"the full size {full} differs from the plain model")


def _cost_grows(case: Case) -> None:
    """A size that contains another costs at least as much."""
    for small, large in itertools.permutations(_tried(case.model.nesting), 2):
        if small <= large:
            less, more = case.model.at(small).cost(), case.model.at(large).cost()
            for what in ("bytes", "parameters", "flops"):
                few, many = getattr(less, what), getattr(more, what)
                case.require(few <= many, f"{what} fall from {few} at {small} to {many} at {large}")


def _views_share_weights(case: Case) -> None:
    """A view is the same weights and leaves the model as it was."""
    before, state = case.model.size, case.model.state_dict()
    for size in _tried(case.model.nesting):
        view = case.model.at(size)
        case.require(view.size == size, f"the view at {size} says that it runs at {view.size}")
        case.require(case.model.size == before, f"taking a view moved the model from {before} to {case.model.size}")
        for name, tensor in view.state_dict().items():
            case.require(tensor.data_ptr() == state[name].data_ptr(), f"the view at {size} has its own copy of {name}")


def _saving_keeps_all(case: Case) -> None:
    """Saving and loading keep weights, sizes, outputs and what the model says about itself."""
    case.model.save(case.folder)
    loaded = type(case.model).load(case.folder)
    case.require(loaded.nesting == case.model.nesting, f"loading turns {case.model.nesting} into {loaded.nesting}")
    case.require(loaded.about == case.model.about, "loading loses what is in about")
    case.require(loaded.fingerprint == case.model.fingerprint, "loading changes the fingerprint")
    before, after = case.model.saved_state(), loaded.saved_state()
    case.require(before.keys() == after.keys(), f"loading changes the weights' names to {', '.join(after)}")
    for name, tensor in before.items():
        case.require(torch.equal(tensor.cpu(), after[name]), f"loading changes the weight {name}")
    for size in _tried(case.model.nesting):
        output = loaded.at(size)(case.example)
        case.same(output, case.model.at(size)(case.example), f"loading changes the output at {size}")


def _partial_loading(case: Case) -> None:
    """Loading at a size is loading all and cutting, and reads less where weights are nested."""
    case.model.save(case.folder)
    manifest = json.loads((case.folder / MANIFEST).read_text("utf-8"))
    nested, owned = case.model.nested_tensors(), case.model.owned_tensors()
    whole = bytes_read(manifest["tensors"], {})
    for size in _tried(case.model.nesting):
        loaded = type(case.model).load(case.folder, size)
        case.require(loaded.nesting == case.model.nesting.up_to(size), f"loading at {size} gives {loaded.nesting}")
        output = loaded(case.example)
        case.same(output, case.model.at(size)(case.example), f"loading at {size} differs from loading all and cutting")
        keep = {name: size[axis] for name, (axis, _) in nested.items()}
        needed = entries_at(manifest, size)
        below = {axis: case.model.nesting.values(axis)[-2:-1] for axis, _ in nested.values()}
        smaller = any(size[axis] <= last for axis, found in below.items() for last in found)  # else it needs all blocks
        smaller |= any(size[axis] < least[axis] for least in owned.values() for axis in least)
        read = bytes_read(needed, keep)
        case.require(not smaller or read < whole, f"loading at {size} reads {read} bytes, as many as the whole model")
        undamaged = _damage_all_but(case.folder, _names(needed, keep))
        try:
            type(case.model).load(case.folder, size)
        except CheckpointError as error:
            raise AssertionError(
                f"{type(case.model).__name__}: loading at {size} reads weights outside that size: {error}"
            ) from error
        finally:
            (case.folder / checkpoint.WEIGHTS).write_bytes(undamaged)


def _extract_is_the_view(case: Case) -> None:
    """A smaller model that is cut out gives what the view gives, and shares nothing with it."""
    for size in _tried(case.model.nesting):
        small = case.model.extract(size)
        case.require(type(small) is type(case.model), f"extract gives a {type(small).__name__} at {size}")
        small.eval()
        case.require(small.nesting.full == size, f"what is extracted at {size} has full size {small.nesting.full}")
        output = small(case.example)
        case.same(output, case.model.at(size)(case.example), f"what is extracted at {size} differs from the view there")
        held = {tensor.data_ptr() for tensor in case.model.state_dict().values() if tensor.numel()}
        for name, tensor in small.state_dict().items():
            case.require(tensor.data_ptr() not in held, f"what is extracted at {size} shares {name} with the model")


def _untrained_sizes_refused(case: Case) -> None:
    """A size that was not trained raises `SizeError` naming those that were, wherever it is asked for."""
    case.model.save(case.folder)
    doors: dict[str, Callable[[Size], Any]] = {
        "at": case.model.at,
        "extract": case.model.extract,
        "load": lambda size: type(case.model).load(case.folder, size),
    }
    for (size, choices), (door, ask) in itertools.product(_untrained(case.model.nesting), doors.items()):
        try:
            ask(size)
        except SizeError as error:
            missing = [choice for choice in choices if choice not in str(error)]
            case.require(not missing, f"{door}({size}) is refused without naming {', '.join(missing)}: {error}")
        except Exception as error:
            raise AssertionError(
                f"{type(case.model).__name__}: {door}({size}) raises {type(error).__name__}, not SizeError: {error}"
            ) from error
        else:
            case.require(False, f"{door}({size}) is accepted, though it was not trained")


def _one_output_per_item(case: Case) -> None:
    """What `run` gives at any size is one output per item."""
    for size in case.model.nesting:
        found = case.model.at(size).run(case.items, **case.options)
        count = len(case.items)
        case.require(len(found) == count, f"at {size} run gives {len(found)} outputs for {count} items")


def _names_are_there(case: Case) -> None:
    """What the class names as ``module:function`` (rivals, exports, converts) is there, and can be called."""
    for what in ("rivals", "exports", "converts"):
        for form, name in getattr(case.model, what).items():
            try:
                found = named(name)
            except (ImportError, AttributeError, ValueError) as error:
                raise AssertionError(f"{type(case.model).__name__}: {what} names {name!r} ({error})") from error
            case.require(callable(found), f"{what} names {name!r} for {form}, which cannot be called")
    for rival in case.model.usual:
        case.require(rival in case.model.rivals, f"usual names {rival!r}, which is none of its rivals")


PROMISES: tuple[Callable[[Case], None], ...] = (
    _finite_and_of_shape,
    _one_pass,
    _full_is_plain,
    _cost_grows,
    _views_share_weights,
    _saving_keeps_all,
    _partial_loading,
    _extract_is_the_view,
    _untrained_sizes_refused,
    _one_output_per_item,
    _names_are_there,
)


def _tried(nesting: Nesting) -> list[Size]:
    """The sizes that are listed, and on open axes some that are not: those just below and the smallest."""
    found = dict.fromkeys(nesting)
    for axis, size in itertools.product(nesting.open, nesting):
        below = {size[axis] / 2} if axis in size.shares else {1, max(1, size[axis] - 1)}
        found.update(dict.fromkeys(size.replace(**{axis: value}) for value in below))
    return list(found)


def _untrained(nesting: Nesting) -> list[tuple[Size, list[str]]]:
    """Sizes outside a nesting, each with the words that its refusal must hold."""
    found = [(nesting.full.replace(**{_unused(nesting): 1}), list(nesting.axes))]
    for axis in nesting.axes:
        values = nesting.values(axis)
        if axis in nesting.open:
            between = {(values[-1] + 1) / 2} - {values[-1]} if axis in nesting.full.shares else {values[-1] + 1}
        elif axis in nesting.full.shares:
            between = {(low + high) / 2 for low, high in itertools.pairwise((0, *values))}
        else:
            between = {values[0] - 1, values[-1] + 1, *(value - 1 for value in values)} - {0, *values}
        found += [(nesting.full.replace(**{axis: one}), [*map(written, values)]) for one in sorted(between)]
    grid = itertools.product(*(nesting.values(axis) for axis in nesting.axes))
    sizes = [Size(dict(zip(nesting.axes, values, strict=True))) for values in grid]
    if nesting.open:
        return found
    return found + [(size, [str(known) for known in nesting]) for size in sizes if size not in nesting]


def _unused(nesting: Nesting) -> str:
    return next(axis for axis in ("other", "another") if axis not in nesting.axes)


def _names(entries: dict[str, Any], keep: dict[str, int]) -> set[str]:
    """The names of the stored blocks that are read for `keep`."""
    wanted = (wanted_blocks(name, entry, keep.get(name)) for name, entry in entries.items())
    return {block["block"] for blocks in wanted for block in blocks}


def _damage_all_but(folder: Path, kept: set[str]) -> bytes:
    """Invert every byte of the blocks that are not kept; returns the file as it was."""
    path = folder / checkpoint.WEIGHTS
    whole = path.read_bytes()
    content = bytearray(whole)
    length = int.from_bytes(whole[:8], "little")
    for block, where in json.loads(whole[8 : 8 + length]).items():
        if block != "__metadata__" and block not in kept:
            start, stop = (8 + length + offset for offset in where["data_offsets"])
            content[start:stop] = bytes(255 - byte for byte in content[start:stop])
    path.write_bytes(content)
    return whole


def _listed(sizes: Any) -> str:
    return "; ".join(map(str, sizes))
