"""The method ``muke``: long texts edited into a language model, window by window (Su et al., arXiv 2504.01196)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from anysize.core.errors import AnysizeError
from anysize.core.verbs.method import Method


@dataclass(frozen=True)
class MuKE(Method):
    """
    Makes a language model answer prompts with long texts: a shift of a hidden state for each window, then a write.

    Each shift is fitted to its own window and to all that follow (nested targets); the first windows alone are a
    smaller edit. --coefficients window is AnyEdit, --splitter whole one shift for all, --writer unke or ft other ways
    to write. Fine-tuning (--writer ft) recites better and costs less; a closed form may keep plain text better: measure
    both.
    """

    name: ClassVar[str] = "muke"
    runs: ClassVar[str] = "anysize.editing.fit:fit"
    example: ClassVar[str] = "HuggingFaceTB/SmolLM2-135M-Instruct"
    axes: ClassVar[tuple[str, ...]] = ("windows",)
    paper: ClassVar[str] = "Su et al. 2025, arXiv 2504.01196; AnyEdit arXiv 2502.05628; UnKE arXiv 2405.15349"
    learns_from: ClassVar[str] = (
        "edits: prompt, target_new[, rephrase_prompts, locality_inputs], or UnKEBench and others"
    )
    needs: ClassVar[tuple[str, ...]] = ("prompt, target_new",)
    extra: ClassVar[str | None] = "editing"
    reads: ClassVar[str] = "anysize.editing.requests.readers:read"
    positive: ClassVar[tuple[str, ...]] = ("window", "v_steps", "v_lr", "clamp", "preserve_weight", "lr", "write_steps")

    model: str | None = None
    """The causal language model to edit: a folder or a hub name."""
    layers: tuple[int | str, ...] | None = None
    """Blocks to write to; shifts are found at the last of them. By number from 0, by name (model.layers.5), or by depth
    (40%). Default: 40%."""
    window: int = 20
    """Tokens of a window."""
    splitter: Literal["fixed", "sentence", "surprisal", "whole"] = "fixed"
    """Where windows begin: every so many tokens, at sentences, at surprising tokens; whole: one window."""
    coefficients: Literal["uniform", "affinity", "window", "last"] = "uniform"
    """What a shift is fitted to: all targets alike, or by how their gradients agree; its own window; or all as one."""
    affinity_order: Literal["code", "forward"] = "code"
    """How affinities become coefficients: as the published code reads them, or straight."""
    v_steps: int = 25
    """Steps of Adam for a shift."""
    v_lr: float = 0.5
    """Their learning rate."""
    v_weight_decay: float = 1e-3
    """Their weight decay, over the squared norm of the state."""
    clamp: float = 4.0
    """A shift is at most so many times as long as the state."""
    v_stop: float = 1e-2
    """The loss at which a shift is good enough."""
    writer: Literal["memit", "alphaedit", "unke", "ft"] = "memit"
    """How shifts become weights: in closed form, that in the null space of texts, by tuning the block to give the
    shifted states; ft: the block is fine-tuned on the answers, without shifts."""
    preserve_weight: float = 10.0
    """Of memit: how much the second moments of texts count, per token."""
    null: float = 0.02
    """Of alphaedit: directions that texts use less than so many times the mean are free to write to."""
    texts: str | None = None
    """A file of texts that the model shall go on as before. Default: a few pages of our own."""
    prompts: str | None = None
    """A file of prompts that shall be answered as before. Default: two dozen questions of our own."""
    projection: str | None = None
    """Of a block with unusual names: the linear layer that a closed form writes to, such as mlp.down_proj."""
    lr: float | None = None
    """Learning rate of unke (2e-4 unless given) and ft (1e-3)."""
    write_steps: int = 50
    """Steps of unke and, at most, of ft."""
    ft_stop: float = 0.01
    """The loss at which ft stops."""
    sequential: bool = False
    """Each edit is found in the model that holds those before it, not all in the unedited one."""
    chat: Literal["auto", "never"] = "auto"
    """Whether prompts go into the model's chat template, where it has one."""

    def told(self, made: Any, out: str) -> str:
        """Also which edits are left out, and why."""
        left_out = made.about.get("left_out", {})
        return "".join(f"left out: edit {one}: {why}\n" for one, why in left_out.items()) + super().told(made, out)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and not self.layers:
            raise AnysizeError("name at least one layer with layers, or leave it out")
        if self.sequential and self.writer in ("unke", "ft"):
            raise AnysizeError("edits are written one after the other in closed form alone: with memit or alphaedit")
        for name in ("v_lr", "lr"):
            if (getattr(self, name) or 0) > 1e4:
                raise AnysizeError(f"{name.replace('_', '-')} is at most 10000; got {getattr(self, name)}")
        for name in ("v_weight_decay", "v_stop", "ft_stop"):
            if getattr(self, name) < 0:
                raise AnysizeError(f"{name.replace('_', '-')} is at least 0; got {getattr(self, name)}")
