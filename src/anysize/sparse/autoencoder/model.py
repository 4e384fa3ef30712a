"""
One sparse autoencoder whose dictionary nests by prefixes (``latents``), by activation rank (``active``), or both.

Matryoshka SAE (Bussmann et al. 2025, arXiv 2503.17547, section 3) nests ``latents``, MSAE (Zaigrajew et al. 2025,
arXiv 2502.20578) and CSR (Wen et al. 2025, arXiv 2503.01776) nest ``active``:
``z = activation((x' - b_dec) W_enc + b_enc)``, ``x' ~ z W_dec + b_dec``, with ``x' = (x - mean) * scale``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from anysize.core.arguments import ROWS, TEXTS, as_float32, expect, instance, takes
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.model.cost import Cost
from anysize.core.sides import SidedTexts
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.sparse.autoencoder.activations import ACTIVATIONS, Activation, above, strongest
from anysize.sparse.autoencoder.codes import Codes
from anysize.sparse.autoencoder.decoding import decode_prefixes, decode_ranks, decode_sum
from anysize.sparse.autoencoder.scoring import Searched

SEARCHED = ("sparse-retrieval", "sparse-accuracy", "reconstruction")
"""What codes are measured by that are made to search with."""
_CHUNK = 1 << 22  # pre-activations held at a time: 16 MB of float32


class SparseAutoencoder(Searched):
    """
    Encodes vectors into few active latents of a dictionary, and back, at any trained size.

    `latents` is the number of dictionary rows where the nesting does not say it, `active` the number of latents that
    a code should have: exactly at most so many with ``topk``, on average with ``batchtopk``, and unknown (None) with
    ``relu`` and, unless it was trained for a number, ``jumprelu``. An axis ``active`` of the nesting says it instead
    and needs ``topk``. At a prefix, ``topk`` chooses anew among the prefix's latents; the other activations look at
    each latent alone.
    """

    kind = "sae"
    evaluators = ("reconstruction", "sparse-retrieval", "sparse-accuracy")
    usual = ("truncate", "pca")
    rivals: ClassVar[Mapping[str, str]] = {
        "batchtopk": "anysize.sparse.methods.rivals:batchtopk",
        "topk": "anysize.sparse.methods.rivals:topk",
        "jumprelu": "anysize.sparse.methods.rivals:jumprelu",
        "sorted": "anysize.sparse.methods.rivals:by_energy",
        "pruned": "anysize.sparse.methods.rivals:pruned",
        "single": "anysize.core.verbs.rivals:single",
        "truncate": "anysize.sparse.measuring.dense:truncate",
        "pca": "anysize.sparse.measuring.dense:pca",
        "truncate-bytes": "anysize.sparse.measuring.dense:truncate_bytes",
        "pca-bytes": "anysize.sparse.measuring.dense:pca_bytes",
        "original": "anysize.sparse.measuring.dense:original",
    }
    exports: ClassVar[Mapping[str, str]] = {
        "saelens": "anysize.sparse.formats.saelens:export",
        "sparse-encoder": "anysize.sparse.formats.sparse_encoder:write_sparse_encoder",
    }

    W_enc: torch.nn.Parameter
    W_dec: torch.nn.Parameter
    b_enc: torch.nn.Parameter
    b_dec: torch.nn.Parameter
    threshold: torch.Tensor
    """(F,) What a pre-activation must exceed, for ``batchtopk`` and ``jumprelu``; zeros elsewhere."""
    mean: torch.Tensor
    """(d,) Taken off every input."""
    scale: torch.Tensor
    """() Multiplied onto every centred input."""

    def __init__(
        self,
        nesting: Nesting,
        width: int,
        *,
        activation: Activation = "topk",
        latents: int | None = None,
        active: float | None = None,
    ) -> None:
        super().__init__(nesting)
        for axis in nesting.axes:
            if axis not in ("latents", "active"):
                raise SizeError(f"a sparse autoencoder is nested in latents, active or both; got {axis}")
        if activation not in ACTIVATIONS:
            raise AnysizeError(f"{activation!r} is not an activation; expected one of {', '.join(ACTIVATIONS)}")
        if "active" in nesting.axes and activation != "topk":
            raise SizeError(f"only topk codes nest in active; got {activation}")
        full = nesting.full["latents"] if "latents" in nesting.axes else latents
        if full is None:
            raise SizeError("say how many latents there are")
        if "active" in nesting.axes:
            active = nesting.full["active"]
        if activation in ("topk", "batchtopk") and active is None:
            raise SizeError(f"{activation} needs a number of active latents")
        if activation == "topk" and active != int(active or 0):
            raise SizeError(f"topk keeps a whole number of latents active; got {active}")
        if active is not None and "latents" not in nesting.axes and not 0 < active <= full:
            raise SizeError(f"active={active} does not fit the dictionary, which has {full} latents")
        self.width, self.activation, self.active = width, activation, active
        self._encoder: Any = None
        self.W_enc = torch.nn.Parameter(torch.zeros(full, width).T)  # latent by latent in memory
        self.b_enc = torch.nn.Parameter(torch.zeros(full))
        self.W_dec = torch.nn.Parameter(torch.zeros(full, width))
        self.b_dec = torch.nn.Parameter(torch.zeros(width))
        self.register_buffer("threshold", torch.zeros(full))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))

    # Sizes

    @property
    def latents(self) -> int:
        """Dictionary rows at this view's size."""
        return self._latents(self.size)

    def _latents(self, size: Size) -> int:
        return size["latents"] if "latents" in size else self.b_enc.shape[0]

    def _active(self, size: Size) -> float | None:
        return size.get("active", self.active)

    def _within(self, size: Size) -> int:
        """Active latents that a code of this size has at most."""
        latents = self._latents(size)
        return min(math.ceil(self._active(size) or latents), latents)

    # Running

    def standardize(self, x: np.ndarray | torch.Tensor) -> torch.Tensor:
        """
        Inputs (n, d) as the weights see them: centred and scaled.

        Raises `DataError` for another width or values that are not finite.
        """
        rows = x if isinstance(x, torch.Tensor) else torch.from_numpy(as_float32(x))
        if rows.dim() != 2 or rows.shape[1] != self.width:
            raise DataError(
                f"this autoencoder reads vectors of width {self.width}; got shape {tuple(rows.shape)}, so give the "
                "activations that it was fitted on"
            )
        if not bool(torch.isfinite(rows).all()):
            raise DataError("the vectors hold NaN or infinite values; remove those rows")
        return (rows.to(self.W_enc) - self.mean) * self.scale

    def _pre(self, x: torch.Tensor, latents: int) -> torch.Tensor:
        return torch.addmm(self.b_enc[:latents], x - self.b_dec, self.W_enc[:, :latents])

    @torch.no_grad()
    @takes(x=ROWS)
    def encode(self, x: np.ndarray | torch.Tensor) -> Codes:
        """Vectors (n, d) to codes over this view's latents; the dense (n, m) is never held whole."""
        return Codes.joined([self._codes(self._pre(part, self.latents), self.size) for part in self._parts(x)])

    @takes(x=ROWS)
    def encode_dense(self, x: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Vectors (n, d) to codes (n, m) with their zeros."""
        return self.encode(x).dense()

    def _parts(self, x: np.ndarray | torch.Tensor) -> Iterator[torch.Tensor]:
        """Standardised rows, so many at a time that their pre-activations stay small."""
        step = max(1, _CHUNK // self.latents)
        for start in range(0, max(1, len(x)), step):
            yield self.standardize(x[start : start + step])

    def _codes(self, pre: torch.Tensor, size: Size) -> Codes:
        active = self._active(size)
        if self.activation == "topk":
            assert active is not None
            return strongest(pre, active)
        return above(pre, self.threshold[: pre.shape[1]])

    @takes(texts=TEXTS)
    def features(self, texts: Sequence[str]) -> np.ndarray:
        """
        The vectors (n, d) that this autoencoder reads of texts, by the encoder that it was fitted on.

        It was fitted on documents, so that is what texts are unless they are `SidedTexts`. Raises `AnysizeError` if it
        was fitted on vectors, and so knows of none.
        """
        from anysize.sparse.rows.source import embedded

        return embedded(self._loaded_encoder(), texts if isinstance(texts, SidedTexts) else list(texts))

    def window(self) -> Any:
        """How much of a document the encoder reads. Raises `AnysizeError` as `features` does."""
        return self._loaded_encoder().window()

    def _loaded_encoder(self) -> Any:
        from anysize.sparse.rows.source import Source

        options = self.about.get("options", {})
        if options.get("site") is not None:
            raise AnysizeError("this autoencoder reads tokens, several for a text; give it the vectors of each")
        if self._encoder is None:
            self._encoder = Source(options.get("model")).encoder()
        return self._encoder

    @torch.no_grad()
    @takes(codes=instance(Codes, torch.Tensor, words="codes, or a tensor of dense ones"))
    def decode(self, codes: Codes | torch.Tensor) -> torch.Tensor:
        """Codes (or dense ones, (n, m)) to vectors (n, d) in the space of the inputs."""
        if isinstance(codes, torch.Tensor):
            codes = torch.as_tensor(expect(codes, ROWS, "decode: codes"))
            if codes.shape[1] > len(self.W_dec):
                raise DataError(f"codes of {codes.shape[1]} latents for an autoencoder of {len(self.W_dec)}")
            return self._unstandardize(codes.to(self.W_dec) @ self.W_dec[: codes.shape[1]] + self.b_dec)
        return self._unstandardize(decode_sum(codes, self.W_dec) + self.b_dec)

    def _unstandardize(self, x: torch.Tensor) -> torch.Tensor:
        return x / self.scale + self.mean

    @torch.no_grad()
    @takes(example=ROWS)
    def outputs(
        self, example: np.ndarray | torch.Tensor, sizes: tuple[Size, ...] | None = None
    ) -> dict[Size, torch.Tensor]:
        """The reconstruction at every size: one product with the encoder, and one sparse decode of the largest."""
        asked = self.nesting.resolve_all(sizes)
        widest = self.at(max(asked, key=self._latents))
        parts = [self._reconstructions(widest._pre(part, widest.latents), asked) for part in widest._parts(example)]
        return {size: self._unstandardize(torch.cat([part[size] for part in parts]) + self.b_dec) for size in asked}

    def _reconstructions(self, pre: torch.Tensor, asked: list[Size]) -> dict[Size, torch.Tensor]:
        """``z W_dec`` at every size asked for."""
        found: dict[Size, torch.Tensor] = {}
        if self.activation != "topk":
            latents = sorted({self._latents(size) for size in asked})
            codes = above(pre, self.threshold[: pre.shape[1]])
            by_latents = dict(zip(latents, decode_prefixes(codes, self.W_dec, latents), strict=True))
            return {size: by_latents[self._latents(size)] for size in asked}
        for length in sorted({self._latents(size) for size in asked}):
            here = {size: self._within(size) for size in asked if self._latents(size) == length}
            active = sorted(set(here.values()))
            codes = strongest(pre[:, :length], active[-1])
            by_active = dict(zip(active, decode_ranks(codes, self.W_dec, active), strict=True))
            found.update({size: by_active[count] for size, count in here.items()})
        return found

    # The contract

    def cost(self) -> Cost:
        """Bytes of one stored code (a float32 and an index for each active latent); weights and FLOPs both ways."""
        latents = self.latents
        active = self._within(self.size)
        parameters = latents * (2 * self.width + 2) + self.width
        return Cost(bytes=self.bytes_of(active), parameters=parameters, flops=2 * self.width * (latents + active))

    def bytes_of(self, active: float) -> int:
        """Bytes of a stored code with so many active latents: a float32 each, and an index that tells all apart."""
        return round(active * (4 + (2 if self.b_enc.shape[0] <= 1 << 16 else 4)))

    def config(self) -> dict[str, Any]:
        """Width, activation, and the numbers that no axis of the nesting says."""
        latents = None if "latents" in self.nesting.axes else self.b_enc.shape[0]
        active = None if "active" in self.nesting.axes else self.active
        shape = {"width": self.width, "activation": self.activation, "latents": latents, "active": active}
        usual = self.evaluators == type(self).evaluators
        return shape if usual else {**shape, "evaluators": list(self.evaluators)}

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Self:
        """An autoencoder of that shape, all zeros."""
        made = cls(
            nesting,
            config["width"],
            activation=config["activation"],
            latents=config["latents"],
            active=config["active"],
        )
        made.evaluators = tuple(config.get("evaluators", cls.evaluators))
        return made

    def load_parts(self, directory: Path) -> None:
        """Nothing stands beside the weights; but an earlier version did not write that codes of CSR are searched."""
        if self.about.get("method") == "csr":
            self.evaluators = SEARCHED

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """Whatever belongs to a latent is cut along the latents, where they nest."""
        if "latents" not in self.nesting.axes:
            return {}
        return {"W_enc": ("latents", 1), **{name: ("latents", 0) for name in ("b_enc", "W_dec", "threshold")}}
