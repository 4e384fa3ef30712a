"""Places of beams and of clinical coding, which need no model of the shop."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

import anysize as az
from anysize import beams, coding
from anysize.coding.reading.data import data_of
from tests.wrong_input.zoo import NOT_PATHS, NOT_TEXTS, NUMBERS, Place

FAST: dict[str, Any] = {"dims": (4,), "candidates": (2,), "folds": 0, "epochs": 1, "iterations": 5}
PANEL = beams.Panel(4, 8)


def beam_places() -> Iterator[Place]:
    counts = NUMBERS + ", zero, minus one"
    yield Place("Panel(rows=)", lambda s, x: beams.Panel(x, 8), counts)
    yield Place("Channels.checked", lambda s, x: beams.Channels.checked(x, PANEL), "None, zero, a text, an object")
    yield Place("Channels.checked(drops=)", lambda s, x: beams.Channels.checked(_links().values, PANEL, x),
                "zero, a text, an object, [None]")  # fmt: skip
    yield Place("dft(oversampling=)", lambda s, x: beams.dft(PANEL, x), counts, leaves_out="huge")
    yield Place("wide(beams=)", lambda s, x: beams.wide(PANEL, x), counts + ", huge")
    yield Place("greedy(beams=)", lambda s, x: beams.greedy(_links().rows, beams.dft(PANEL), x), counts + ", huge")
    yield Place("beam_report(best=)", lambda s, x: beams.beam_report(_links().power[:, None].log(), x), counts)
    yield Place("loop(steps=)", lambda s, x: beams.loop(_book(), _links(), steps=x), "zero, minus one, nan, a text",
                leaves_out="huge")  # fmt: skip
    yield Place(
        "loop(leave=)", lambda s, x: beams.loop(_book(), _links(), leave=x), "minus one, nan, a text, an object"
    )
    yield Place("book.run", lambda s, x: _book().run(x), "None, zero, a text, an object, another width")


def coding_places() -> Iterator[Place]:
    yield Place("read_folder", lambda s, x: coding.read_folder(x), NOT_PATHS + ", a path, a text")
    yield Place("CodeDictionary.of", lambda s, x: coding.CodeDictionary.of(x), "None, zero, a text, [None], an object")
    yield Place("Counts.of", lambda s, x: coding.Counts.of(x, [[]]), "None, zero, an object, an empty list")
    yield Place("fit(icd, dims=)", lambda s, x: az.fit(_few(), method="icd", **{**FAST, "dims": x}),
                "None, zero, a text, [None], an object, an empty list")  # fmt: skip
    yield Place("fit(icd, folds=)", lambda s, x: az.fit(_few(), method="icd", **{**FAST, "folds": x}),
                "minus one, nan, a text, an object", leaves_out="huge")  # fmt: skip
    yield Place("Endpoint", lambda s, x: coding.Endpoint(x), "None, zero, a text, an object")
    yield Place("coder.run", lambda s, x: _coder().run(x), NOT_TEXTS)
    yield Place("coder.run(top=)", lambda s, x: _coder().run(["ИБС"], top=x), NUMBERS + ", zero, minus one")
    yield Place("coder.link", lambda s, x: _coder().link(x), NOT_TEXTS)


@cache
def _links() -> beams.Channels:
    draw = np.random.default_rng(0)
    values = draw.standard_normal((20, 1, 1, 32)) + 1j * draw.standard_normal((20, 1, 1, 32))
    return beams.Channels.checked(values, PANEL)


@cache
def _book() -> beams.NestedCodebook:
    return beams.NestedCodebook.of(beams.dft(PANEL)[:4], PANEL)


@cache
def _coder() -> Any:
    return az.fit(_few(), method="icd", **FAST)


@cache
def _few() -> coding.CodingData:
    documents = [coding.Document(str(n), "ИБС; астма", (coding.Span(0, 3, "ИБС", "I25.9"),)) for n in range(10)]
    names = coding.CodeDictionary.of({"I25.9": "Хроническая ишемическая болезнь сердца", "J45.9": "Астма"})
    return data_of("few", documents, names)
