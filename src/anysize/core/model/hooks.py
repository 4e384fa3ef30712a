"""What a family says about a model of its own: its kind, what it reads and gives, how to build it and how it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.model.cost import Cost
from anysize.core.model.manifest import Parts
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


class ModelHooks(torch.nn.Module):
    """The part of `NestedModel` that a family fills in."""

    kind: ClassVar[str]
    """The name under which the class is registered in the entry-point group ``anysize.models``."""

    reads: ClassVar[tuple[str, ...]] = ("vector",)
    """What it takes: of text, vector, image, audio, video, parts (several of these, interleaved), and channel."""

    gives: ClassVar[str] = "vectors"
    """What it makes of items: vectors, codes, labels, text, next tokens, codebook, or spans."""

    reader: ClassVar[str] = "anysize.core.data.read:read"
    """What reads the data that it is measured on, of whatever a user names."""

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

    export_options: ClassVar[Mapping[str, str]] = {}
    """The options of some of these formats: a name -> ``"module:class"``, a dataclass whose fields are those that its
    function takes besides."""

    converts: ClassVar[Mapping[str, str]] = {}
    """Objects of other libraries that a view can become in memory: a name -> ``"module:function"``, ``function(view)``,
    which makes one of a view at its size and shares nothing with it. The first is the default."""

    writes: ClassVar[str | None] = None
    """What writes its outputs into a folder, where `run` is given one: ``"module:function"``, ``function(folder, ids,
    outputs)`` with an iterable of outputs in the order of the ids."""

    panels: ClassVar[tuple[str, ...]] = ()
    """What the page of its frontier shows besides: ``"module:function"``, ``function(model, data, frontier)`` -> a
    `Panel`, or None where there is nothing to show."""

    later: ClassVar[tuple[str, ...]] = ()
    """Folders of `save_parts` that are read when first needed; whoever does so calls `parts.check(folder)` before."""

    shares: ClassVar[tuple[str, ...]] = ()
    """Axes of which it runs a share, as ``audio=1/16``; all others it counts in whole numbers."""

    tasks: tuple[str, ...] = ()
    """What it can be told to run for, if it runs differently for different things."""

    task: str | None = None
    """The one of them that this view runs for; None: nobody chose."""

    def __init__(self, nesting: Nesting) -> None:
        super().__init__()
        for axis in nesting.full.shares:
            if axis not in self.shares:
                raise SizeError(f"{type(self).__name__} counts {axis} in whole numbers; got {nesting.full}")
        self.nesting = nesting
        self.size = nesting.full
        self.chooses = False
        """Whether this view chooses a size for each item."""
        self.about: dict[str, Any] = {}
        self.parts: Parts | None = None
        """The files beside the weights, of a model that was loaded."""
        self._fingerprint: tuple[str, tuple[tuple[str, int], ...]] | None = None

    def _outputs(self, example: Any, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Run once and return the output at each of these sizes, all of them trained: what `outputs` gives."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it runs")

    def run(self, *given: Any, **options: Any) -> Any:
        """
        ``run(items, *, side=None, ...)``: what the model `gives` for each item at `self.size`, in their order.

        Here its output as an array; a `Reported` list tells besides what each item took (tokens, milliseconds).
        `side` is where in a search the items stand, to a model that reads the two sides differently. A family names
        further options; those that ``anysize run`` has too are ``batch_size``, ``max_new_tokens``, ``temperature``,
        ``seed``, ``stop`` and ``top``.
        """
        with torch.no_grad():
            return self(*given).cpu().numpy()

    @classmethod
    def facts(cls, config: dict[str, Any]) -> dict[str, Any]:
        """What ``anysize info`` tells besides of a model of this configuration: a name -> a text or a number."""
        return {}

    def choosing(self) -> Self:
        """
        A view that chooses a size for each item: ``--size auto``.

        Raises `AnysizeError` where it has not learnt to.
        """
        raise AnysizeError(f"a model of kind {self.kind!r} chooses no size; name one, such as {self.size}")

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

    def take_parts(self, whole: Self) -> None:
        """Attach what `save_parts` of `whole` would write; called after its weights are copied by `extract`."""
