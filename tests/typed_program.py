"""What a user writes, for mypy alone: every public name has a type of its own, and none is Any."""

# mypy: no-implicit-reexport, disallow-any-generics, warn-return-any

from typing import assert_type

import anysize as az
from anysize.core.model.faces import Pretrained
from anysize.text import MRL, Embedder


def frontiers(path: str) -> az.Size:
    assert_type(az.__version__, str)
    data = assert_type(az.read(path), az.Data)
    assert_type(az.fit(path, method="mrl", out="made"), az.NestedModel)
    assert_type(az.fit(path, method="smae", model=path), Pretrained).save("made")
    model = assert_type(az.load(path), az.NestedModel)
    assert_type(model.nesting, az.Nesting)
    assert_type(model.cost(), az.Cost)
    frontier = assert_type(az.measure(model.at(dims=64), data), az.Frontier)
    try:
        return assert_type(frontier.cheapest(within=0.02), az.Record).size
    except az.SizeError:
        return az.Size(dims=64)


def searches(path: str) -> list[str]:
    model = assert_type(Embedder.load(path), Embedder)
    index = assert_type(az.Index.build("index", model.at(dims=64), ["a text"]), az.Index)
    found = assert_type(index.search("a text", stages=[az.Stage(dims=8, keep=4)]), az.search.Results)
    return [assert_type(hit.id, str) for hit in found.hits]


def families() -> None:
    assert_type(MRL(dims=(8, 16)), MRL)
    assert_type(az.text.MRL.name, str)
    assert_type(az.quantize.MatQuant(), az.quantize.MatQuant)
    assert_type(az.sparse.MSAE(), az.sparse.MSAE)
    assert_type(az.classify.MRLClassifier(), az.classify.MRLClassifier)
