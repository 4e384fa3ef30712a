"""
What the MatQuant benchmarks share: the arms, finished runs kept on disk, and the paper's orderings.

All arms of a bench start from one float model, and see the same rows in the same order for as many steps; the
compute-matched arm has three times as many, since MatQuant runs three widths a step. An int2 model of its own has, as
in the paper, the ends of each row's range as levels, and none near zero; a symmetric one has zero. An arm's learning
rate is the best of the bench's on a validation part, at the widths that the arm trains, found with seed 0 and used for
all seeds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.data.data import Data
from anysize.core.files import write_json
from anysize.core.sizes.size import Size
from anysize.core.verbs.load import load
from anysize.quantize import MatQuant, Quantized
from anysize.quantize.training.rivals import floats_of

BITS = (8, 6, 4, 3, 2)
ARMS = ("int8 alone, sliced", "int4 alone", "int2 alone", "int2 alone, symmetric", "matquant",
        "matquant, symmetric", "int2 alone, 3x steps", "single precision", "co-distilled", "extra precision",
        "floor and middle")  # fmt: skip
FIRST = 6
"""So many of the arms are run for all seeds before the others."""
UNTRAINED = ("float", "untrained, sliced", "untrained, own scales")
TRAINED = {"int8 alone, sliced": (8,), "int4 alone": (4,), "matquant": (8, 4, 2), "matquant, symmetric": (8, 4, 2),
           "co-distilled": (8, 4, 2), "extra precision": (8, 4, 2), "floor and middle": (8, 4, 2)}  # fmt: skip
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
    """Increasing."""
    arms: tuple[str, ...] = ARMS

    def arm(self, name: str, seed: int, rate: float) -> MatQuant:
        """The method of an arm."""
        whole = self.method(seed, rate)
        if name == "int8 alone, sliced":
            return whole.sliced()
        if name.startswith("int"):
            alone = whole.single(Size(bits=int(name[3])))
            epochs = alone.epochs * (3 if name.endswith("3x steps") else 1)
            return dataclasses.replace(alone, epochs=epochs, symmetric=name.endswith("symmetric"))
        changed: dict[str, dict[str, Any]] = {
            "matquant": {},
            "matquant, symmetric": {"symmetric": True},
            "single precision": {"weights": ("0", "0", "1")},
            "co-distilled": {"distill": "8->2"},
            "extra precision": {"slice_mode": "extra"},
            "floor and middle": {"slice_mode": "floor_mid"},
        }
        return dataclasses.replace(whole, **changed[name])


class Runs:
    """What is done, in files of one folder; nothing new is started after `minutes`."""

    def __init__(self, cache: Path, minutes: float) -> None:
        self.cache, self.until = cache, time.monotonic() + 60 * minutes

    def all(self, benches: Sequence[Bench], seeds: int) -> bool:
        """Do what is missing, the first arms of all benches before the others; says whether nothing is."""
        try:
            for part, bench in itertools.product((slice(FIRST), slice(FIRST, None)), benches):
                self.untrained(bench)
                for seed, arm in itertools.product(range(seeds), bench.arms[part]):
                    self.trained(bench, arm, seed, self.rate(bench, arm), measure=True)
        except TimeoutError:
            print("to be continued", flush=True)
            return False
        return True

    def file(self, *parts: object) -> Path:
        """Where a run's figures are kept."""
        return self.cache / ("-".join(str(part) for part in parts).replace(",", "").replace(" ", "-") + ".json")

    def model(self, bench: Bench, arm: str, seed: int) -> Path:
        """Where a MatQuant model is kept."""
        return self.cache / "models" / self.file(bench.name, arm, seed, self.rate(bench, arm)).stem

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
                views: dict[int, Any] = {32: floats_of(whole)}
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
            if (
                arm.startswith("matquant") or not measure
            ):  # else its rate may be chosen later, and it would be fitted twice
                model.save(folder)
        if measure:
            # Variants of MatQuant are measured where they are trained, the others at every width they have.
            bits = BITS if arm in ARMS[:FIRST] else (8, 4, 2)
            found |= {"measured": True, **bench.measure(views_of(model, bits))}
        self._keep(kept, found)
        return found

    def rate(self, bench: Bench, arm: str) -> float:
        """The best rate for an arm, raised while that helps; the compute-matched arm takes that of its width."""
        arm = arm.removesuffix(", 3x steps")
        found: dict[float, float] = {}
        for rate in bench.rates:
            found[rate] = float(self.trained(bench, arm, 0, rate, measure=False)["valid"])
            if max(found, key=lambda one: found[one]) != rate:
                break
        return max(found, key=lambda rate: found[rate])

    def values(self, bench: Bench, seeds: int) -> tuple[int, dict[str, dict[str, dict[str, list[float]]]]]:
        """How many seeds the first arms have all been run with, and task -> arm -> size -> a figure per seed."""
        runs: dict[str, list[dict[str, Any]]] = {}
        self.until = 0.0  # what is not there is not run now
        for arm in bench.arms:
            with contextlib.suppress(TimeoutError):
                for seed in range(seeds):
                    run = self.trained(bench, arm, seed, self.rate(bench, arm), measure=True)
                    runs.setdefault(arm, []).append(run)
        whole = min(len(runs.get(arm, ())) for arm in bench.arms[:FIRST])
        if not whole:
            return 0, {}
        read = {arm: json.loads(self.file(bench.name, arm).read_text("utf-8")) for arm in UNTRAINED}
        values: dict[str, dict[str, dict[str, list[float]]]] = {}
        for task in read["float"]:
            values[task] = {arm: {size: [one] for size, one in found[task].items()} for arm, found in read.items()}
            for arm, each in runs.items():
                values[task][arm] = {size: [run[task][size] for run in each] for size in each[0][task]}
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
    return {width: model.at(bits=width) for width in bits if width in model.nesting.values("bits")}


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
        pairs = list(zip(values[arm]["bits=2"], values[other]["bits=2"], strict=False))  # of the seeds that both have
        gaps = [one - two for one, two in pairs]
        one, two = np.mean(pairs, axis=0)
        words = f"{arm} {one:.3f}, {other} {two:.3f}; by seed {', '.join(f'{gap:+.3f}' for gap in gaps)}"
        return Ordering(name, bool(sign * np.mean(gaps) >= 0), words)

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
        "C against symmetric int2": ("matquant", "int2 alone, symmetric"),
        "C, both symmetric": ("matquant, symmetric", "int2 alone, symmetric"),
        "C at equal compute": ("matquant", "int2 alone, 3x steps"),
        "single precision is no worse at 2": ("single precision", "matquant"),
        "co-distillation helps at 2": ("co-distilled", "matquant"),
        "extra precision helps at 2": ("extra precision", "matquant"),
        "floor and middle helps at 2": ("floor and middle", "matquant"),
    }
    return judged + [ahead(name, *pair) for name, pair in further.items() if set(pair) <= values.keys()]


def outcome(judged: Sequence[Ordering]) -> Any:
    """Won, mixed or lost by A, B and C."""
    held = [ordering.holds for ordering in judged[:3]]
    return "won" if all(held) else "mixed" if any(held) else "lost"
