"""The method ``beams``: a codebook learnt from channels, or with ``--from reports`` a network that makes one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from anysize.core.errors import AnysizeError
from anysize.core.sizes.size import Size
from anysize.core.verbs.method import Method


@dataclass(frozen=True)
class Beams(Method):
    """
    One codebook for every number of feedback bits: its first 4 beams are a 4-beam book, the first 64 a 64-beam book.

    Learns the beams of a site from channels: the mean over links of the log gain of the best beam, soft at first, and
    summed over all sizes. With --from reports, a network (SSB-Encoder) that makes the next book from what users report.
    """

    name: ClassVar[str] = "beams"
    runs: ClassVar[str] = "anysize.beams.fit:fit"
    axes: ClassVar[tuple[str, ...]] = ("beams",)
    paper: ClassVar[str] = "Dreifuerst, Heath and Yazdan 2022, arXiv 2204.06064; nested here"
    learns_from: ClassVar[str] = "channels [links, subcarriers, rx, tx], or the name of a 3GPP scenario (uma:2000)"
    needs: ClassVar[tuple[str, ...]] = ("channel",)
    extra: ClassVar[str | None] = "beams"
    reads: ClassVar[str] = "anysize.beams.channels.reading:read"
    positive: ClassVar[tuple[str, ...]] = (*Method.positive, "batch_links", "pool", "rounds", "sweeps")

    beams: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Sizes to train, increasing: beams of a sweep."""
    hardware: Literal["full", "phase"] = "full"
    """What each element can do: amplitude and phase (full), or phase alone (phase)."""
    from_: Literal["channels", "reports"] = "channels"
    """What the book is made of when it runs: it is learnt once from channels, or made anew from users' reports."""
    averaging: Literal["power", "coherent"] = "power"
    """Over subcarriers: of powers (TS 38.215), or of the channels themselves, as SSB-Encoder's code does."""
    steps: int = 300
    """Steps of Adam."""
    batch_links: int = 256
    """Links of a step."""
    learning_rate: float = 0.03
    """Of Adam."""
    warm: float = 0.55
    """Temperature of the soft maximum over beams at the first step, in nepers of gain."""
    cold: float = 0.05
    """And at the last."""
    pool: int = 2
    """Oversampling of the DFT grid whose greedy order learning begins with."""
    sweep: int = 8
    """Of --from reports: beams of the sweep that is reported on."""
    rounds: int = 600
    """Of --from reports: steps of training, of eight drops of users each."""
    sweeps: int = 1
    """Of --from reports: sweeps in a row that training follows; from the second on, its own books are reported on."""
    bits: tuple[int, ...] = ()
    """Of --from reports: bits of the network's latent, increasing, each a size; numbers without end if none is said."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.cold <= self.warm:
            raise AnysizeError(f"the temperature falls from warm to cold, above zero; got {self.warm} and {self.cold}")
        if self.bits and self.from_ != "reports":
            raise AnysizeError("bits are those of a network's latent; give them with --from reports")

    def single(self, size: Size) -> Beams:
        """The fixed-size twin: trained for one size alone."""
        return replace(self, beams=(size["beams"],), bits=(size["bits"],) if "bits" in size else ())
