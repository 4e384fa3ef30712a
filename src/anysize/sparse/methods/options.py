"""The methods of this family: one set of options, of which each system chooses its own defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.checks import whole_numbers
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.method import Method

if TYPE_CHECKING:
    from anysize.sparse.autoencoder.activations import Activation
    from anysize.sparse.learning.recipe import Recipe
    from anysize.sparse.rows.source import Source


@dataclass(frozen=True)
class SparseOptions(Method):
    """What all methods of this family have in common."""

    runs: ClassVar[str] = "anysize.sparse.methods.fit:fit"
    learns_from: ClassVar[str] = "vectors, or texts and a model"
    needs: ClassVar[tuple[str, ...]] = ("vector", "text")
    extra: ClassVar[str | None] = "sparse"
    positive: ClassVar[tuple[str, ...]] = (*Method.positive, "dead_after", "buffer")
    axes: ClassVar[tuple[str, ...]] = ("latents",)
    """Axes that the method nests even if one value was given."""
    trains_levels: ClassVar[bool] = True
    """Whether levels below the largest are trained, or only offered."""
    anneals: ClassVar[bool] = True
    """Whether codes have a k that can fall during training."""

    latents: tuple[int, ...] | None = None
    """Dictionary sizes, increasing. Default: a power of two of at least four times the input's width (and, where
    sizes nest, its half, quarter, eighth and sixteenth)."""
    active: tuple[int, ...] | None = None
    """Active latents per code."""
    k_anneal: float = 0.0
    """Share of the steps over which the active latents fall from --initial-topk to --active (CSRv2: 0.7)."""
    initial_topk: int | None = None
    """With --k-anneal: active latents of the first step. Default: the input's width, at most all latents."""
    model: str | None = None
    """For texts: a sentence-transformers model or a saved anysize encoder. Not needed for vectors."""
    site: str | None = None
    """Read this module of a Hugging Face model (layer.3) instead, a row for each token."""
    cache: str | None = None
    """Folder to keep what texts became, for other runs."""
    stream: bool = False
    """Run the model beside the training and store none of its rows. What it costs to run is paid at every pass."""
    buffer: int = 65_536
    """With --stream: rows that wait and are mixed, at most; refilled when half of them are used."""
    max_length: int = 256
    """With a site: tokens read of each text."""
    steps: int | None = None
    """Steps to train. Default: one pass over the data, at least 1,000 steps."""
    batch_size: int | None = None
    """Rows per step, of all processes together. Default: 512, or a quarter of the rows where they are few."""
    learning_rate: float | None = None
    """Peak learning rate. Default: 2e-4 / sqrt(latents / 16384)."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises."""
    decay: float = 0.2
    """Share of the steps, at the end, over which it falls to zero."""
    weights: tuple[float, ...] | None = None
    """Weight of each size in the loss. Default: all alike."""
    reduction: Literal["mean", "sum"] = "mean"
    """Average the losses of the sizes, or add them."""
    bias_level: bool = False
    """Count a level that uses no latents, as the Matryoshka SAE authors' code does."""
    detach: bool = False
    """Let each level teach only the latents that it adds."""
    sampled: int = 0
    """Draw so many prefixes anew at each step in place of the fixed ones."""
    aux: float = 1 / 32
    """Weight of the loss that revives dead latents; 0 leaves it out."""
    k_aux: int | None = None
    """Dead latents that rebuild each row's error. Default: half of the input's width."""
    dead_after: int = 100
    """Steps without an activation after which a latent is dead."""
    center: bool = True
    """Take the mean off the inputs."""
    rescale: bool = True
    """Scale inputs to a mean square of one per coordinate."""
    bf16: bool = False
    """Form the encoder's product in bfloat16."""
    device: str | None = None
    """Where the autoencoder (and with --site the model) runs in training: cpu, cuda or cuda:1. Default: cuda if it is
    there."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("warmup", "decay", "k_anneal"):
            if not 0 <= getattr(self, name) <= 1:
                raise AnysizeError(
                    f"{name.replace('_', '-')} is a share of the steps from 0 to 1; got {getattr(self, name)}"
                )
        if self.sampled < 0 or self.aux < 0:
            raise AnysizeError("sampled and aux must be at least 0")
        if self.stream and (self.model is None or self.cache is not None):
            raise AnysizeError("stream runs a model over texts and stores nothing: it needs model, and no cache")
        if self.k_anneal and not self.anneals:
            raise AnysizeError(f"{self.name} has no k that could fall; leave out k-anneal")
        if self.initial_topk is not None and not self.k_anneal:
            raise AnysizeError("initial-topk is where k-anneal starts; give k-anneal too, for example 0.7")

    # What a system decides

    def activation(self) -> Activation:
        """How codes become sparse."""
        raise NotImplementedError(f"{type(self).__name__} does not say how codes become sparse")

    def default_active(self, latents: int) -> tuple[int, ...]:
        """Active latents where none were named; none where the activation knows of no number."""
        return () if self.activation() == "relu" else (min(32, latents),)

    def level_weights(self, nesting: Nesting) -> tuple[float, ...]:
        """One weight per size: those given, or all alike; sizes that are not trained weigh nothing."""
        if not self.trains_levels:
            return tuple(float(size == nesting.full) for size in nesting)
        return self.weights or (1.0,) * len(nesting)

    def more(self) -> dict[str, object]:
        """Fields of the recipe that are this method's own."""
        return {}

    # What follows

    def source(self) -> Source:
        """How texts become rows."""
        from anysize.sparse.rows.source import Source

        return Source(self.model, self.site, self.max_length, self.device, self.stream)

    def nesting(self, width: int) -> Nesting:
        """The sizes of the model, with their weights. Raises `SizeError` for sizes that do not fit together."""
        latents = whole_numbers("latents", self.latents or self._default_latents(width))
        active = self.active or self.default_active(latents[-1])
        axes: dict[str, tuple[int, ...]] = {}
        if "latents" in self.axes or len(latents) > 1:
            axes["latents"] = latents
        if "active" in self.axes or len(active) > 1:
            axes["active"] = active
            if self.activation() != "topk":
                raise SizeError(f"several numbers of active latents need topk codes; {self.name} has not, name one")
        if active and whole_numbers("active", active)[-1] > latents[-1]:
            raise SizeError(f"active={active[-1]} exceeds the dictionary, which has {latents[-1]} latents")
        nesting = Nesting(**axes)
        return Nesting.pairs(list(nesting), self.level_weights(nesting))

    def recipe(self, width: int) -> Recipe:
        """Everything a learner needs."""
        from anysize.sparse.learning.recipe import Recipe

        latents = (self.latents or self._default_latents(width))[-1]
        active = self.active or self.default_active(latents)
        if self.initial_topk is not None and active and not active[0] <= self.initial_topk <= latents:
            raise SizeError(
                f"initial-topk={self.initial_topk} must lie between the active latents, {active[0]}, and all {latents}"
            )
        return Recipe(
            nesting=self.nesting(width),
            activation=self.activation(),
            latents=latents,
            active=active[-1] if active else None,
            learning_rate=self.learning_rate or 2e-4 / (latents / 16384) ** 0.5,
            k_anneal=self.k_anneal,
            initial_topk=self.initial_topk or min(width, latents),
            **{  # type: ignore[arg-type]
                "seed": self.seed,
                "reduction": self.reduction,
                "bias_level": self.bias_level,
                "detach": self.detach,
                "sampled": self.sampled,
                "aux": self.aux,
                "k_aux": self.k_aux or 0,
                "dead_after": self.dead_after,
                "warmup": self.warmup,
                "decay": self.decay,
                "bf16": self.bf16,
                **self.more(),
            },
        )

    def _default_latents(self, width: int) -> tuple[int, ...]:
        full = 1 << max(4, (4 * width - 1).bit_length())
        nests = "latents" in self.axes and self.trains_levels
        return tuple(full // part for part in (16, 8, 4, 2, 1)) if nests else (full,)

    def single(self, size: Size) -> SparseOptions:
        """The same training for one size alone: the fixed-size twin."""
        alone = {axis: (value,) for axis, value in size.items()}
        start = self.initial_topk
        if start is not None and not size.get("active", 0) <= start <= size.get("latents", start):
            start = None  # it fits the levels together, and not this one
        return replace(self, weights=None, sampled=0, initial_topk=start, **alone)  # type: ignore[arg-type]


@dataclass(frozen=True)
class MatryoshkaSAE(SparseOptions):
    """
    Matryoshka SAE: the first m latents of a dictionary reconstruct alone, for every m of --latents.

    General features settle in the first latents, special ones later; a prefix is a smaller autoencoder.
    """

    name: ClassVar[str] = "matryoshka-sae"
    paper: ClassVar[str] = "Bussmann et al. 2025, arXiv 2503.17547"

    codes: Literal["batchtopk", "topk"] = "batchtopk"
    """Keep the batch's largest activations (then one threshold at inference), or each row's."""

    def activation(self) -> Activation:
        """As --codes says."""
        return self.codes


@dataclass(frozen=True)
class MSAE(SparseOptions):
    """
    MSAE: one code that reconstructs from its k strongest latents, for every k of --active.

    Default levels: 16, doubled up to all latents.
    """

    name: ClassVar[str] = "msae"
    paper: ClassVar[str] = "Zaigrajew et al. 2025, arXiv 2502.20578"
    axes: ClassVar[tuple[str, ...]] = ("active",)
    anneals: ClassVar[bool] = False

    weighting: Literal["uniform", "reverse"] = "uniform"
    """All levels alike (UW), or L, L-1, ..., 1 from the sparsest on (RW)."""
    error: Literal["mse", "nmse"] = "nmse"
    """Squared error as it is, or of each row relative to its square."""
    aux: float = 0.0
    """Weight of the loss that revives dead latents: the level of all latents makes it needless."""

    def activation(self) -> Activation:
        """TopK at every level."""
        return "topk"

    def default_active(self, latents: int) -> tuple[int, ...]:
        """16, 32, ... and all latents."""
        doubled = [16 << power for power in range(32) if 16 << power < latents]
        return (*doubled, latents)

    def level_weights(self, nesting: Nesting) -> tuple[float, ...]:
        """Those given, else by --weighting."""
        if self.weights is not None or self.weighting == "uniform":
            return super().level_weights(nesting)
        levels = nesting.values("active")
        return tuple(float(len(levels) - levels.index(size["active"])) for size in nesting)

    def more(self) -> dict[str, object]:
        """How errors are measured."""
        return {"error": self.error}
