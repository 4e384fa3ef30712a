"""
One encoder, one adapter per task, any width: task LoRA as in jina-embeddings-v3 (Sturua et al. 2024, arXiv 2409.10173).

The caller names the task of each text and the matching low-rank adapter runs; the vector may be cut to any trained
width. The transformer underneath is shared and never changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from anysize.backbones.layered import Backbone
from anysize.backbones.sentence import Encoder, trainable
from anysize.core.errors import CheckpointError, SizeError
from anysize.core.files import read_json, write_json
from anysize.core.model import checkpoint
from anysize.core.model.cost import Cost
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.text.depth.model import TOKENS
from anysize.text.tasks.adapters import TASKS, Adapters, LoRA, check_tasks
from anysize.text.tasks.running import INSTRUCTIONS, SIDES, TaskRunning

BASE, ADAPTERS = "base", "adapters"
WEIGHTS, NAMES = "model.safetensors", "tensors.json"


class TaskEncoder(TaskRunning):
    """
    Embeds texts for a task: ``encode(texts, task="retrieval.query")``, or one task per text.

    `instructions` maps a task to what goes before its texts (default: the encoder's own prompts of queries and of
    documents; where it has neither, what jina-embeddings-v3 puts there). `encoder` is given up to this model: adapters
    are put into it in place. Raises `SizeError` if the nesting is not in dims or exceeds the model.
    """

    kind = "task-encoder"
    evaluators = ("retrieval", "similarity", "neighbours")
    rivals: ClassVar[Mapping[str, str]] = {
        "truncate": "anysize.text.rivals:truncate",
        "pca": "anysize.text.rivals:pca",
        "original": "anysize.text.rivals:original",
    }
    usual = ("truncate", "pca")
    exports: ClassVar[Mapping[str, str]] = {"sentence-transformers": "anysize.text.embedder.export:write"}
    times_encoding = False
    weight = None

    def __init__(
        self,
        nesting: Nesting,
        encoder: Backbone,
        tasks: Sequence[str] = TASKS,
        lora: LoRA | None = None,
        instructions: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(nesting)
        if nesting.axes != ("dims",):
            raise SizeError(f"an encoder with task adapters is nested in dims; got {', '.join(nesting.axes)}")
        if nesting.full.dims > encoder.width:
            raise SizeError(f"dims={nesting.full.dims} exceeds the model, whose embeddings have {encoder.width}")
        self.encoder = encoder.requires_grad_(False)
        self.tasks = tuple(tasks)
        self.lora = lora or LoRA()
        self.instructions = dict(_instructions(encoder) if instructions is None else instructions)
        check_tasks([*self.instructions] or self.tasks)
        self.adapters = Adapters(encoder.transformer, self.tasks, self.lora)
        self.task: str | None = None
        """The task of texts that come without one; `for_task` gives a view that has it."""
        self._base_digest: tuple[str, tuple[tuple[str, int], ...]] | None = None

    def cost(self) -> Cost:
        """Bytes of one stored float32 embedding; parameters and FLOPs (a text of 128 tokens) with one adapter."""
        adapter, depth = self.adapters.parameters_of_one(), self.encoder.depth
        base = sum(value.numel() for value in self.adapters.base_state().values())
        table = sum(weight.numel() for name, weight in self.adapters.weights(self.tasks[0]).items() if "embed" in name)
        blocks = base - self.encoder.transformer.get_input_embeddings().weight.numel()
        attention = 4 * TOKENS * self.encoder.transformer.config.hidden_size * depth
        flops = TOKENS * (2 * (blocks + adapter - table) + attention)
        return Cost(bytes=4 * self.size.dims, parameters=base + adapter, flops=flops)

    def extract(self, size: Size | str | None = None, /, *, task: str | None = None, **axes: int) -> Any:
        """
        One task as an ordinary sentence-transformers model of that width (`save` it): adapter merged, needs no PEFT.

        Its instruction becomes the model's default prompt. Raises `AnysizeError` if no task is given here or by
        `for_task`.
        """
        chosen = self.nesting.resolve(size, **axes) if size is not None or axes else self.size
        (name,) = self.tasks_of(1, task)
        prompt = self.prompt_of(name)
        # It embeds for this one task by whichever method it is asked.
        named = dict.fromkeys((name, "query", "document"), prompt) if prompt else {}
        settings = {**self.encoder.settings, "prompts": named, "default_prompt": name if prompt else None}
        dims = [size for size in self.nesting.values("dims") if size <= chosen.dims]
        return self._plain(self.adapters.merged(name), settings, dims)

    def base(self) -> Any:
        """What the tasks share, as an ordinary sentence-transformers model without any adapter."""
        found = self._plain(self.adapters.merged(None), self.encoder.settings, [self.encoder.whole_width])
        found.truncate_dim = self.encoder.settings["truncate_dim"]
        return found

    def _plain(self, transformer: Any, settings: Mapping[str, Any], dims: Sequence[int]) -> Any:
        alone = Backbone(transformer, list(self.encoder.tail), settings)
        alone.tokenizer = self.encoder.tokenizer
        return alone.sentence_transformer(alone.depth, dims)

    def saved_state(self) -> dict[str, torch.Tensor]:
        """The adapters; the base goes to a folder of its own."""
        return {name: value for name, value in self.state_dict().items() if ".lora_" in name}

    def config(self) -> dict[str, Any]:
        """The base's configuration and fingerprint, the tasks and what their adapters are like."""
        return {
            "encoder": self.encoder.config(),
            "tasks": list(self.tasks),
            "lora": asdict(self.lora),
            "instructions": self.instructions,
            "base": self.base_fingerprint(),
        }

    def base_fingerprint(self) -> str:
        """SHA-256 over the weights that the tasks share."""
        state, versions = self._base_state(), self._base_versions()
        if self._base_digest is None or self._base_digest[1] != versions:
            digest = hashlib.sha256()
            for name, value in sorted(state.items()):
                digest.update(name.encode() + checkpoint.raw_bytes(value))
            self._base_digest = (digest.hexdigest(), versions)
        return self._base_digest[0]

    def _base_state(self) -> dict[str, torch.Tensor]:
        tail = {f"tail.{name}": value for name, value in self.encoder.tail.state_dict().items()}
        return {**self.adapters.base_state(), **tail}

    def _base_versions(self) -> tuple[tuple[str, int], ...]:
        return tuple((name, value._version) for name, value in self._base_state().items())

    def _versions(self) -> tuple[tuple[str, int], ...]:
        return (*super()._versions(), *self._base_versions())

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Self:
        """An untrained model of that configuration, its base random until `load_parts` reads it."""
        lora = dict(config["lora"])
        if isinstance(lora["target_modules"], list):
            lora["target_modules"] = tuple(lora["target_modules"])
        depth = int(config["encoder"]["transformer"]["num_hidden_layers"])
        backbone = Backbone.build(config["encoder"], depth)
        model = cls(nesting, backbone, config["tasks"], LoRA(**lora), config["instructions"])
        model._expected = config["base"]
        return model

    _expected: str | None = None

    def save_parts(self, directory: Path) -> None:
        """The base as a sentence-transformers model, and each adapter once more, as a folder that PEFT reads."""
        Encoder(self.base()).save(directory / BASE)
        # Each architecture has its own names on disk, which are not those in memory.
        write_json(directory / BASE / NAMES, sorted(checkpoint.names_in(directory / BASE / WEIGHTS)))
        for task in self.tasks:
            self.adapters.save(task, directory / ADAPTERS / task)

    def load_parts(self, directory: Path) -> None:
        """The base. Raises `CheckpointError` if it is not the one that the adapters were trained on."""
        if (directory / BASE / NAMES).exists():
            # The library would fill a gap with random numbers and pass over what it does not know.
            names = read_json(directory / BASE / NAMES, "the names of a model's tensors")
            checkpoint.check_names(directory / BASE / WEIGHTS, set(names))
        base = Backbone.of(Encoder(str(directory / BASE)).model)
        try:
            self.adapters.load_base(base.transformer.state_dict())
            self.encoder.tail.load_state_dict(base.tail.state_dict(), assign=True)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"{directory / BASE} does not fit the adapters beside it ({error})") from None
        self.encoder.tokenizer, self._base_digest = base.tokenizer, None
        if self._expected is not None and self.base_fingerprint() != self._expected:
            raise CheckpointError(
                f"{directory / BASE} was altered: it is not the model that the adapters were made for"
            )


def _instructions(encoder: Backbone) -> dict[str, str]:
    own = {task: encoder.prompt(side) for task, side in SIDES.items()}
    return own if any(own.values()) else INSTRUCTIONS


def TaskLoRA(
    model: str | Any,
    tasks: Sequence[str] = TASKS,
    *,
    dims: Sequence[int] | None = None,
    r: int = 4,
    lora_alpha: float = 1.0,
    lora_dropout: float = 0.0,
    target_modules: str | tuple[str, ...] = "all-linear",
    embedding: bool = True,
    instructions: Mapping[str, str] | None = None,
    seed: int = 0,
) -> TaskEncoder:
    """
    A `TaskEncoder` with untrained adapters over a sentence-transformers model (a folder, a name, or the object).

    Untrained adapters change nothing. An object is taken over; weights of 16 bits become 32, for what is trained in 16
    does not move. `instructions` as `TaskEncoder` says; give ``{}`` for none but the model's own prompts.
    """
    backbone = Backbone.of(trainable(Encoder(model).model))
    nesting = Nesting(dims=tuple(dims) if dims is not None else (backbone.width,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lora = LoRA(r, lora_alpha, lora_dropout, target_modules, embedding)
        encoder = TaskEncoder(nesting, backbone, tasks, lora, instructions)
    encoder.about = {"options": {"model": Encoder(model).name}}
    return encoder.eval()
