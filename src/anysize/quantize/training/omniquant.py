"""
OmniQuant's base for MatQuant (section 3.1; Shao et al. 2023): layer by layer, weights stand still.

Each block learns where its codes begin and end, and a scale and shift of its inputs, so that at every width it gives
what the float block gives on the same input. Inputs of the next block come from this one at the widest width that is
learnt. Only one block's inputs are held at a time, and only that block has gradients. Finished blocks are kept on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import nn

from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.files import write_bytes
from anysize.core.model.checkpoint import raw_bytes, tensors_of
from anysize.core.progress import each
from anysize.core.sides import SidedTexts
from anysize.quantize.codes.running import running_as_floats, running_at
from anysize.quantize.layers.choosing import stacks
from anysize.quantize.layers.fake import FakeQuantLinear
from anysize.quantize.layers.learnt import Learnt
from anysize.quantize.training.columns import columns
from anysize.quantize.training.qat import language_windows
from anysize.quantize.training.widths import Widths

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.quantize.model.model import Quantized
    from anysize.quantize.training.method import MatQuant


_DIGEST = "sha256"


@dataclass
class Call:
    """How a block is called on one batch: its first argument is what changes from block to block."""

    rest: tuple[Any, ...]
    named: dict[str, Any]


class _Stop(Exception):
    """Ends a pass once what was wanted of it is known."""


def calibrate(method: MatQuant, data: Data, model: Quantized, workdir: Path, resume: bool) -> dict[str, Any]:
    """Learn the codes of a prepared model from texts, block by block; `resume` takes finished blocks from `workdir`."""
    found = list(stacks(model.inner).values())
    if len(found) != 1:
        raise AnysizeError(f"omniquant goes along one stack of blocks, and this model has {len(found)}; use base qat")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None:
        model.to(accelerator)
    batches, what = _sample(method, data, model)
    blocks = list(found[0])
    states, calls = _first_inputs(model, blocks, batches)
    kept = workdir / "blocks"
    kept.mkdir(parents=True, exist_ok=True)
    losses: list[dict[str, float]] = []
    prefix = method.widths().looked_at[0]
    for place, block in enumerate(each(blocks, "calibrating", " blocks")):
        parts = {name: part for name, part in block.named_modules() if isinstance(part, FakeQuantLinear)}
        for part in parts.values():
            part.learnt = Learnt(
                part.out_features, part.in_features, part.scheme, part.name, transform=not method.clip_only
            ).to(part.weight.device)
        file = kept / f"{place}.safetensors"
        if parts and resume and file.exists():
            final = _restore(file, parts)
        else:
            final = _fit_block(method, block, parts, states, calls[place], place)
            learnt = {**_state(parts), "loss": torch.tensor(final)}
            write_bytes(file, save(learnt, {_DIGEST: _digest(learnt)}))
        losses.append({"step": place, "loss": final})
        with torch.no_grad(), running_at(prefix):
            states = [_run(block, state, call) for state, call in zip(states, calls[place], strict=True)]
    return {"learnt_from": what, "rows": sum(map(len, batches)), "losses": losses, "inputs_at_bits": prefix}


def _sample(method: MatQuant, data: Data, model: Quantized) -> tuple[list[Any], str]:
    """
    Batches to look at, drawn by the seed: windows of tokens, or distinct texts, sorted so that batches pad little.

    All texts of a batch stand on one side of a search: that of the column that they came from.
    """
    generator = torch.Generator().manual_seed(method.seed)
    if model.inner.gives == "next tokens":
        rows = language_windows(method, data, model.inner)[:, :-1]
        chosen = rows[torch.randperm(len(rows), generator=generator)[: method.calibration]]
        return list(chosen.split(method.batch_size)), "windows of text"
    found = columns(data, "auto", method.sides)
    sided = [(side, text) for side, column in zip(found.sides, found.columns, strict=True) for text in column]
    distinct = [one for one in dict.fromkeys(sided) if one[1].strip()]
    drawn = [distinct[place] for place in torch.randperm(len(distinct), generator=generator)[: method.calibration]]
    batches: list[Any] = []
    for side in dict.fromkeys(found.sides):
        texts = sorted((text for other, text in drawn if other == side), key=len)
        for start in range(0, len(texts), method.batch_size):
            batches.append(SidedTexts(texts[start : start + method.batch_size], side))
    return batches, "texts"


def _first_inputs(
    model: Quantized, blocks: list[nn.Module], batches: Sequence[Any]
) -> tuple[list[torch.Tensor], list[list[Call]]]:
    """The inputs of the first block per batch, and how every block is called per batch (masks differ by block)."""
    states: list[torch.Tensor] = []
    calls: list[list[Call]] = [[] for _ in blocks]

    def listen(place: int) -> Any:
        def before(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = dict(named)
            first = args[0] if args else given.pop("hidden_states")
            calls[place].append(Call(args[1:], given))
            if place == 0:
                states.append(first.detach())
            if place == len(blocks) - 1:
                raise _Stop

        return before

    handles = [block.register_forward_pre_hook(listen(n), with_kwargs=True) for n, block in enumerate(blocks)]
    try:
        with torch.no_grad(), running_as_floats():
            for batch in batches:
                try:
                    model.inner.outputs(batch)
                except _Stop:
                    continue
    finally:
        for handle in handles:
            handle.remove()
    return states, calls


def _run(block: nn.Module, state: torch.Tensor, call: Call) -> torch.Tensor:
    given = block(state, *call.rest, **call.named)
    return given[0] if isinstance(given, tuple) else given


def _fit_block(
    method: MatQuant,
    block: nn.Module,
    parts: dict[str, FakeQuantLinear],
    states: list[torch.Tensor],
    calls: list[Call],
    place: int,
) -> float:
    """Equation 5 summed over widths with their weights; returns the mean loss of the last pass."""
    if not parts:
        return 0.0
    widths = method.widths()
    with torch.no_grad(), running_as_floats():
        targets = [_run(block, state, call) for state, call in zip(states, calls, strict=True)]
    learnt = [parameter for part in parts.values() if part.learnt for parameter in part.learnt.parameters()]
    optimiser = torch.optim.AdamW(learnt, lr=method.learning_rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(method.seed * 1000 + place)
    mean = 0.0
    for _ in range(max(1, round(method.epochs))):
        total = 0.0
        for at in torch.randperm(len(states), generator=generator).tolist():
            loss = _nested(block, states[at], calls[at], targets[at], widths)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimiser.step()
            total += float(loss.detach())
        mean = total / len(states)
    for parameter in learnt:
        parameter.requires_grad_(False)
    return mean


def _nested(block: nn.Module, state: torch.Tensor, call: Call, target: torch.Tensor, widths: Widths) -> torch.Tensor:
    found: dict[int, torch.Tensor] = {}
    for bits in widths.looked_at:
        with running_at(bits):
            found[bits] = _run(block, state, call)
    real = real_tokens(state, call)

    def apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one - other)[real].square().mean()

    total = torch.stack(
        [weight * apart(found[bits], target) for bits, weight in widths.weights.items() if weight > 0]
    ).sum()
    if widths.teacher is not None:
        wide = found[widths.teacher].detach()
        for bits, weight in widths.pulls.items():
            total = total + weight * apart(found[bits], wide)
    return total


def real_tokens(state: torch.Tensor, call: Call) -> torch.Tensor:
    """Which tokens of a block's inputs (rows, tokens, width) are no padding: bool (rows, tokens), from its mask."""
    for given in (*call.rest, *call.named.values()):
        if isinstance(given, torch.Tensor) and given.dim() == 4 and given.shape[-1] == state.shape[1]:
            # Whether a token may look at itself, (rows, tokens); a mask of floats has 0 there.
            seen = given[:, 0, 0] if given.shape[2] == 1 else given[:, 0].diagonal(dim1=1, dim2=2)
            return (seen if seen.dtype == torch.bool else seen == 0).expand(state.shape[:2])
    return torch.ones(state.shape[:2], dtype=torch.bool, device=state.device)


def _state(parts: dict[str, FakeQuantLinear]) -> dict[str, torch.Tensor]:
    return {
        f"{name}:{key}": value.detach().contiguous().cpu()
        for name, part in parts.items()
        if part.learnt is not None
        for key, value in part.learnt.state_dict().items()
    }


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + raw_bytes(value))
    return digest.hexdigest()


def _restore(file: Path, parts: dict[str, FakeQuantLinear]) -> float:
    try:
        state, words = tensors_of(file)
        said = words.get(_DIGEST)
        if said is not None and said != _digest(state):
            raise ValueError("it was altered")
        for name, part in parts.items():
            assert part.learnt is not None
            part.learnt.load_state_dict({key: state[f"{name}:{key}"] for key in part.learnt.state_dict()})
            part.learnt.requires_grad_(False)
        return float(state["loss"])
    except Exception as error:
        raise CheckpointError(f"{file} cannot be read ({error}); delete it to learn that block again") from None
