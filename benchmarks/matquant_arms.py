"""
What the MatQuant benchmarks share: the arms, finished runs kept on disk, and the paper's orderings.

All arms of a bench start from one float model, and see the same rows in the same order for as many steps; the
compute-matched arm has three times as many, since MatQuant runs three widths a step. An arm's learning rate is the best
of the bench's on a validation part, at the widths that the arm trains, found with seed 0 and used for all seeds.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.data import Data
from anysize.core.files import write_json
from anysize.core.registry import load
from anysize.core.sizes import Size
from anysize.quantize import MatQuant, Quantized
from anysize.quantize.arms import original

BITS = (8, 6, 4, 3, 2)
ARMS = ("int8 alone, sliced", "int4 alone", "int2 alone", "matquant", "single precision", "co-distilled",
        "int2 alone, 3x steps")  # fmt: skip
UNTRAINED = ("float", "untrained, sliced", "untrained, own scales")
TRAINED = {"int8 alone, sliced": (8,), "int4 alone": (4,), "matquant": (8, 4, 2), "co-distilled": (8, 4, 2)}
"""Widths that an arm trains and is chosen by; those that are not named train 2 bits."""

Scores = dict[str, dict[str, float]]
"""Task -> "bits=r" -> figure."""


@dataclass(frozen=True)
class Bench:
    """One set of runs: which model, which layers, which base."""

    name: str
    method: Callable[[int, float], MatQuant]
    """(seed, learning rate) -> MatQuant with the options that all arms share."""
    data: Data
    valid: Callable[[Any], float]
    """How good a view is on the validation part; more is better."""
    measure: Callable[[dict[int, Any]], Scores]
    """Views by width -> the figures of the test parts."""
    rates: tuple[float, ...]
    rates_of: str | None = None
    """The bench whose runs chose the rates, if not this one."""
    arms: tuple[str, ...] = ARMS

    def arm(self, name: str, seed: int, rate: float) -> MatQuant:
        """The method of an arm."""
        whole = self.method(seed, rate)
        if name == "int8 alone, sliced":
            return whole.sliced()
        if name.startswith("int"):
            alone = whole.single(Size(bits=int(name[3])))
            return dataclasses.replace(alone, epochs=alone.epochs * (3 if name.endswith("3x steps") else 1))
        if name == "single precision":
            return dataclasses.replace(whole, weights=("0", "0", "1"))
        return dataclasses.replace(whole, distill="8->2" if name == "co-distilled" else None)


class Runs:
    """What is done, in files of one folder; nothing new is started after `minutes`."""

    def __init__(self, cache: Path, minutes: float) -> None:
        self.cache, self.until = cache, time.monotonic() + 60 * minutes

    def all(self, benches: Sequence[Bench], seeds: int) -> bool:
        """Do what is missing, one bench after the other; says whether nothing is."""
        try:
            for bench in benches:
                self.untrained(bench)
                for seed in range(seeds):
                    for arm in bench.arms:
                        self.trained(bench, arm, seed, self.rate(bench, arm), measure=True)
        except TimeoutError:
            print("to be continued", flush=True)
            return False
        return True

    def file(self, *parts: object) -> Path:
        """Where a run's figures are kept."""
        return self.cache / ("-".join(str(part) for part in parts).replace(",", "").replace(" ", "-") + ".json")

    def model(self, bench: Bench, seed: int) -> Path:
        """Where the MatQuant model of a seed is kept."""
        return self.cache / "models" / self.file(bench.name, "matquant", seed, self.rate(bench, "matquant")).stem

    def untrained(self, bench: Bench) -> None:
        """The float model, and what its rounded weights give without training."""
        whole = bench.method(0, bench.rates[0])
        minmax = dataclasses.replace(whole, base="minmax")
        for arm in UNTRAINED:
            kept = self.file(bench.name, arm)
            if kept.exists():
                continue
            self._in_time()
            if arm == "float":
                views: dict[int, Any] = {32: original(whole)}
            elif arm == "untrained, sliced":
                views = views_of(minmax.sliced().fit(bench.data), BITS)
            else:
                views = {bits: minmax.minmax(Size(bits=bits)).fit(bench.data) for bits in BITS}
            self._keep(kept, dict(bench.measure(views)))

    def trained(self, bench: Bench, arm: str, seed: int, rate: float, *, measure: bool) -> dict[str, Any]:
        """An arm's figures, after its training if they are not there; `measure` adds those of the test parts."""
        kept = self.file(bench.name, arm, seed, rate)
        found: dict[str, Any] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
        if found and (found.get("measured") or not measure):
            return found
        self._in_time()
        folder = self.cache / "models" / kept.stem
        start = time.process_time()
        if found and folder.exists():
            model: Any = load(folder)
        else:
            model = bench.arm(arm, seed, rate).fit(bench.data)
            found = {"seconds": time.process_time() - start, "losses": model.about["losses"]}
            found["valid"] = float(np.mean([bench.valid(model.at(bits=bits)) for bits in TRAINED.get(arm, (2,))]))
            if arm == "matquant" or not measure:  # else its rate may be chosen later, and it would be fitted twice
                model.save(folder)
        if measure:
            # Variants of MatQuant are measured where they are trained, the others at every width they have.
            bits = (8, 4, 2) if arm in ("single precision", "co-distilled") else BITS
            found |= {"measured": True, **bench.measure(views_of(model, bits))}
        self._keep(kept, found)
        return found

    def rate(self, bench: Bench, arm: str) -> float:
        """The best rate for an arm; the compute-matched arm takes that of its width."""
        arm = arm.removesuffix(", 3x steps")
        if bench.rates_of is not None:
            found = {
                rate: json.loads(self.file(bench.rates_of, arm, 0, rate).read_text("utf-8")) for rate in bench.rates
            }
        else:
            found = {rate: self.trained(bench, arm, 0, rate, measure=False) for rate in bench.rates}
        return max(found, key=lambda rate: float(found[rate]["valid"]))

    def values(self, bench: Bench, seeds: int) -> tuple[int, dict[str, dict[str, dict[str, list[float]]]]]:
        """How many seeds are whole, and task -> arm -> size -> a figure per whole seed."""
        try:
            files = {
                arm: [self.file(bench.name, arm, s, self.rate(bench, arm)) for s in range(seeds)] for arm in bench.arms
            }
            runs = {
                arm: [json.loads(file.read_text("utf-8")) for file in each if file.exists()]
                for arm, each in files.items()
            }
        except (TimeoutError, FileNotFoundError):
            return 0, {}
        runs = {arm: [run for run in each if run.get("measured")] for arm, each in runs.items()}
        whole = min(len(each) for each in runs.values())
        if not whole:
            return 0, {}
        first = json.loads(self.file(bench.name, "float").read_text("utf-8"))
        values: dict[str, dict[str, dict[str, list[float]]]] = {}
        for task in first:
            untrained = {arm: json.loads(self.file(bench.name, arm).read_text("utf-8"))[task] for arm in UNTRAINED}
            values[task] = {
                **{arm: {size: [value] for size, value in sizes.items()} for arm, sizes in untrained.items()},
                **{
                    arm: {size: [run[task][size] for run in each[:whole]] for size in each[0][task]}
                    for arm, each in runs.items()
                },
            }
        return whole, values

    def _in_time(self) -> None:
        if time.monotonic() > self.until:
            raise TimeoutError

    def _keep(self, file: Path, found: Mapping[str, Any]) -> None:
        write_json(file, dict(found))
        short = {
            name: {size: round(one, 3) for size, one in value.items()} if isinstance(value, dict) else value
            for name, value in found.items()
            if name != "losses"
        }
        print(f"{time.strftime('%H:%M')} {file.stem} {short}", flush=True)


def views_of(model: Quantized, bits: Sequence[int]) -> dict[int, Any]:
    """Width -> view, for those of `bits` that a model has."""
    return {width: model.at(bits=width) for width in bits if width in model.nesting.levels("bits")}


@dataclass(frozen=True)
class Ordering:
    """One of the paper's orderings: whether the means are so, and what they are."""

    name: str
    holds: bool
    words: str

    def __str__(self) -> str:
        return f"{self.name}: {'yes' if self.holds else 'no'} ({self.words})"


def orderings(values: Mapping[str, Mapping[str, Sequence[float]]], *, more_is_better: bool) -> list[Ordering]:
    """A, B and C of the claim, then the others; `values` are those of one task."""
    sign = 1.0 if more_is_better else -1.0

    def mean(arm: str, bits: int) -> float:
        return float(np.mean(values[arm][f"bits={bits}"]))

    def ahead(name: str, arm: str, other: str) -> Ordering:
        gaps = np.subtract(values[arm]["bits=2"], values[other]["bits=2"])
        listed = ", ".join(f"{gap:+.3f}" for gap in gaps)
        words = f"{arm} {mean(arm, 2):.3f}, {other} {mean(other, 2):.3f}; by seed {listed}"
        return Ordering(name, bool(sign * gaps.mean() >= 0), words)

    twins = {8: mean("int8 alone, sliced", 8), 4: mean("int4 alone", 4)}
    shares = {bits: mean("matquant", bits) / twin for bits, twin in twins.items()}
    there = [bits for bits in BITS if f"bits={bits}" in values["matquant"]]
    down = [mean("matquant", bits) for bits in there]
    judged = [
        ahead("A, 2 bits beat the sliced int8 model", "matquant", "int8 alone, sliced"),
        Ordering(
            "B, 8 and 4 bits within 1 % of their twins",
            all(sign * (share - 1) >= -0.01 for share in shares.values()),
            ", ".join(f"{share:.3f} of the twin at {bits}" for bits, share in shares.items()),
        ),
        ahead("C, 2 bits beat int2 trained alone", "matquant", "int2 alone"),
        Ordering(
            "D, widths fall in order",
            all(sign * (wide - narrow) >= 0 for wide, narrow in itertools.pairwise(down)),
            ", ".join(f"{bits}: {value:.3f}" for bits, value in zip(there, down, strict=True)),
        ),
    ]
    further = {
        "C at equal compute": ("matquant", "int2 alone, 3x steps"),
        "single precision is no worse at 2": ("single precision", "matquant"),
        "co-distillation helps at 2": ("co-distilled", "matquant"),
    }
    return judged + [ahead(name, *pair) for name, pair in further.items() if set(pair) <= values.keys()]


def outcome(judged: Sequence[Ordering]) -> Any:
    """Won, mixed or lost by A, B and C."""
    held = [ordering.holds for ordering in judged[:3]]
    return "won" if all(held) else "mixed" if any(held) else "lost"
