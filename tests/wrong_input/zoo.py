"""A zoo of wrong things, and every public function that a user may hand one of them to."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch

SURROGATE = "bytes \udcff"
HIDDEN = np.ma.masked_array(np.ones((2, 32), np.float32), mask=[[True] * 32, [False] * 32])

ANIMALS: dict[str, Any] = {
    "None": None,
    "True": True,
    "zero": 0,
    "minus one": -1,
    "huge": 10**30,
    "a fraction": 2.5,
    "nan": float("nan"),
    "infinity": float("inf"),
    "an empty text": "",
    "a text": "cat",
    "half a character": SURROGATE,
    "bytes": b"cat",
    "a path": Path("nothere"),
    "an empty list": [],
    "[None]": [None],
    "[1]": [1],
    "[nan]": [float("nan")],
    "a text and None": ["a", None],
    "half characters": [SURROGATE],
    "rows of two widths": [[1.0, 2.0], [3.0]],
    "a tuple of texts": ("a", "b"),
    "a set": {"a", "b"},
    "an empty mapping": {},
    "a mapping": {"a": 1},
    "an object": object(),
    "a class": dict,
    "a function": len,
    "a date": datetime.date(2020, 1, 1),
    "an array of texts": np.array(["a", "b"]),
    "an array of objects": np.array([{"a": 1}, None], dtype=object),
    "a number in an array": np.array(3.0),
    "a flat array": np.zeros(32, np.float32),
    "no rows": np.zeros((0, 32), np.float32),
    "no columns": np.zeros((3, 0), np.float32),
    "three axes": np.zeros((2, 3, 4), np.float32),
    "another width": np.ones((2, 7), np.float32),
    "rows with nan": np.full((2, 32), np.nan, np.float32),
    "rows beyond float32": np.full((2, 32), 1e300),
    "complex rows": np.ones((2, 32), np.complex64),
    "dates in an array": np.array(["2020-01-01"], "datetime64[D]"),
    "masked rows": HIDDEN,
    "a tensor on no device": torch.ones((2, 32), device="meta"),
    "a tensor of texts' length": torch.ones(2),
    "a frame": pandas.DataFrame({"text": ["a", "b"], "n": [1, 2]}),
    "a series with a gap": pandas.Series(["a", "b", "c"]).drop(0),
    "a generator": (one for one in ("a", "b")),
}


@dataclass(frozen=True)
class Place:
    """One argument of one public function, and what it must refuse."""

    name: str
    call: Callable[[Any, Any], Any]
    """Takes the shop of real things and the animal."""
    refuses: str
    """Animals that it must refuse, by their names; for every other, an answer is as good as a sentence."""
    leaves_out: str = ""
    """Animals that are right but would take for ever."""


NUMBERS = "None, nan, a fraction, a text, an empty list, a mapping, an object, a frame"
NOT_SIZES = "True, nan, a fraction, a text, [None], a mapping, an object, a frame, zero, minus one"
NOT_TEXTS = (
    "None, True, zero, nan, [None], [1], [nan], a text and None, half characters, a mapping, an object, a function, "
    "a date, an array of objects, bytes, a set"
)
NOT_ROWS = (
    "a number in an array, a flat array, three axes, another width, rows with nan, complex rows, rows beyond float32, "
    "dates in an array, masked rows, an array of objects, no columns, rows of two widths"
)
NOT_PATHS = "None, True, zero, nan, an object, a mapping, [1], a flat array, a frame"
NOT_DATA = (
    "None, True, zero, nan, an object, an empty mapping, a mapping, [1], [None], a flat array, an empty list, no rows, "
    "a path, a set, a function, masked rows, complex rows, a series with a gap, a generator"
)
SAE_ROWS = "None, a text, three axes, another width, rows with nan, complex rows, an array of objects, [None]"
