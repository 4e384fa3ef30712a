"""
One low-rank adapter per task inside one frozen transformer (LoRA, Hu et al. 2021; tasks as in arXiv 2409.10173).

The layers are PEFT's. This chooses among them, for a whole pass or row by row, and reads and writes PEFT's folders.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anysize.core.errors import AnysizeError, nearest
from anysize.core.files import read_json, write_json
from anysize.core.model.guard import Guard

TASKS = ("retrieval.query", "retrieval.passage", "separation", "classification", "text-matching")
"""The tasks there are; the first two are the two sides of one task and are trained together."""


@dataclass(frozen=True)
class LoRA:
    """What an adapter adds to a matrix W (out, in): W + lora_alpha / r * B A, with A (r, in) and B (out, r)."""

    r: int = 4
    lora_alpha: float = 1.0
    lora_dropout: float = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"
    """``all-linear``: every linear layer that the transformer uses; or the names of modules, as PEFT takes them."""
    embedding: bool = True
    """Whether the table of token embeddings has an adapter too (with ``all-linear``)."""

    def __post_init__(self) -> None:
        if self.r < 1 or not self.lora_alpha > 0 or not 0 <= self.lora_dropout < 1:
            raise AnysizeError(
                f"r={self.r}, lora_alpha={self.lora_alpha}, lora_dropout={self.lora_dropout}: expected a rank of at "
                "least 1, an alpha above zero and a dropout from 0 to below 1"
            )

    def targets(self, transformer: Any) -> tuple[str, ...]:
        """The full names of the modules that get adapters. Raises `AnysizeError` if there is none of them."""
        if self.target_modules == "all-linear":
            # A pooler on top of the blocks is no part of a mean-pooled sentence vector: it would never be trained.
            found = [name for name, module in transformer.named_modules()
                     if isinstance(module, torch.nn.Linear) and "pooler" not in name]  # fmt: skip
            if self.embedding:
                table = transformer.get_input_embeddings()
                found += [name for name, module in transformer.named_modules() if module is table]
        else:
            named = (self.target_modules,) if isinstance(self.target_modules, str) else self.target_modules
            kinds = torch.nn.Linear | torch.nn.Embedding
            found = [name for name, module in transformer.named_modules() if isinstance(module, kinds)
                     and any(name == one or name.endswith(f".{one}") for one in named)]  # fmt: skip
        if not found:
            raise AnysizeError(f"no layer of the transformer is called {self.target_modules!r}; name others")
        return tuple(found)


class Adapters:
    """
    The adapters of `tasks`, put into `transformer` in place; untrained ones change nothing.

    All of them stay trainable and the transformer frozen, so that one optimiser holds every task; a task that takes no
    part in a step gets no gradient, not a gradient of zero.
    """

    def __init__(self, transformer: Any, tasks: Sequence[str], lora: LoRA) -> None:
        check_tasks(tasks)
        peft = _peft()
        self.tasks, self.lora = tuple(tasks), lora
        targets = list(lora.targets(transformer))
        for task in self.tasks:
            config = self._config(targets)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module=r"peft\.")
                peft.inject_adapter_in_model(config, transformer, adapter_name=inner_name(task))
        self.layers: dict[str, Any] = {
            name: module for name, module in transformer.named_modules() if hasattr(module, "lora_embedding_A")
        }
        self._transformer = transformer
        self._active: str | None = None
        self._guard = Guard()
        transformer.requires_grad_(False)
        self.use(self.tasks[0])

    def use(self, task: str) -> None:
        """Run `task`'s adapter alone in every pass from now on."""
        if task == self._active:
            return
        for layer in self.layers.values():
            layer.set_adapter([inner_name(task)])
        # PEFT freezes what it switches off, and a frozen weight loses the gradient of a pass it already took part in.
        for weight in self.weights().values():
            weight.requires_grad_(True)
        self._active = task

    @contextlib.contextmanager
    def for_rows(self, tasks: Sequence[str]) -> Iterator[None]:
        """Within, row i of a batch runs through the adapter of ``tasks[i]``, for one thread at a time."""
        with self._guard:
            if len(set(tasks)) == 1:
                self.use(tasks[0])
                yield
            else:
                with self._by_row(tasks):
                    yield

    @contextlib.contextmanager
    def _by_row(self, tasks: Sequence[str]) -> Iterator[None]:
        names = [inner_name(task) for task in tasks]

        def choose(_: Any, given: Any, options: dict[str, Any]) -> Any:
            return given, {**options, "adapter_names": names}

        hooks = [layer.register_forward_pre_hook(choose, with_kwargs=True) for layer in self.layers.values()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def weights(self, task: str | None = None) -> dict[str, torch.nn.Parameter]:
        """The adapters' weights by their names in the transformer; of one task, by their names in PEFT's files."""
        found = {name: weight for name, weight in self._transformer.named_parameters() if ".lora_" in name}
        if task is None:
            return found
        own = f".{inner_name(task)}"
        kept = {name: weight for name, weight in found.items() if f"{own}." in name or name.endswith(own)}
        return {f"base_model.model.{name.replace(own, '')}": weight for name, weight in kept.items()}

    def save(self, task: str, folder: Path) -> None:
        """Write one adapter as ``peft.PeftModel.from_pretrained(transformer, folder)`` reads it."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True)
        self._config(list(self.layers), inference_mode=True).save_pretrained(str(folder))
        # PEFT writes the modules in the order of a set, which differs from process to process.
        described = read_json(folder / "adapter_config.json", "an adapter")
        write_json(folder / "adapter_config.json", {**described, "target_modules": sorted(self.layers)})
        state = {name: weight.detach().cpu().contiguous() for name, weight in self.weights(task).items()}
        save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})

    def merged(self, task: str | None) -> Any:
        """A copy of the transformer with one adapter folded into its matrices, or with none."""
        plain = copy.deepcopy(self._transformer)
        for name in self.layers:
            layer = plain.get_submodule(name)
            if task is not None:
                layer.merge(adapter_names=[inner_name(task)])
            home, _, last = name.rpartition(".")
            setattr(plain.get_submodule(home), last, layer.get_base_layer())
        for left in ("peft_config", "active_adapter"):
            plain.__dict__.pop(left, None)
        return plain

    def base_state(self) -> dict[str, torch.Tensor]:
        """The transformer's own weights under the names they had before."""
        state = self._transformer.state_dict()
        return {name.replace(".base_layer", ""): value for name, value in state.items() if ".lora_" not in name}

    def load_base(self, state: Mapping[str, torch.Tensor]) -> None:
        """Give the transformer the weights that `base_state` names. Raises `KeyError` if one is missing."""
        own = self._transformer.state_dict()
        renamed = {name: state[name.replace(".base_layer", "")] for name in own if ".lora_" not in name}
        self._transformer.load_state_dict(renamed, strict=False, assign=True)
        for name, weight in self._transformer.named_parameters():
            weight.requires_grad_(".lora_" in name)

    def parameters_of_one(self) -> int:
        """How many weights one adapter has."""
        return sum(weight.numel() for weight in self.weights(self.tasks[0]).values())

    def _config(self, targets: Sequence[str], **more: Any) -> Any:
        lora = self.lora
        # PEFT calls alpha a whole number but computes with what it is given.
        alpha: Any = int(lora.lora_alpha) if float(lora.lora_alpha).is_integer() else lora.lora_alpha
        return _peft().LoraConfig(
            r=lora.r, lora_alpha=alpha, lora_dropout=lora.lora_dropout, target_modules=list(targets), **more
        )


def inner_name(task: str) -> str:
    """A task as the name of a module, which cannot hold a dot."""
    return task.replace(".", "_")


def check_tasks(tasks: Sequence[str]) -> None:
    """Raise `AnysizeError` for a task that does not exist, comes twice, or if there is none at all."""
    if not tasks:
        raise AnysizeError(f"no task is named; there are: {', '.join(TASKS)}")
    for task in tasks:
        if task not in TASKS:
            raise AnysizeError(f"no task is called {task!r}; {nearest(task, TASKS)}")
        if list(tasks).count(task) > 1:
            raise AnysizeError(f"the task {task} is listed twice; each has one adapter")


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise AnysizeError("task adapters need the 'text' extra: pip install 'anysize[text]'") from None
    return peft
