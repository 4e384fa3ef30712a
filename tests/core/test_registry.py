from __future__ import annotations

import importlib.metadata

import pytest

from anysize.core.errors import AnysizeError, CheckpointError, SizeError
from anysize.core.files import write_json
from anysize.core.model.manifest import MANIFEST
from anysize.core.registry import find, names
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.load import load
from anysize.evaluation.retrieval import NeighbourEvaluator, RetrievalEvaluator
from anysize.text.embedder.method import MRL
from anysize.text.embedder.model import Embedder


def test_what_is_registered_is_found():
    assert find("models", "embedder") is Embedder
    assert find("methods", "mrl") is MRL
    assert find("evaluators", "retrieval") is RetrievalEvaluator
    assert find("evaluators", "neighbours") is NeighbourEvaluator


@pytest.mark.parametrize("group", ["models", "methods", "evaluators"])
def test_all_that_is_registered_can_be_imported_and_fits_its_group(group):
    for name in names(group):
        thing = find(group, name)
        if group == "models":
            assert thing.kind == name
            assert set(thing.evaluators) <= set(names("evaluators"))
        elif group == "methods":
            assert callable(thing().fit)
        else:
            assert thing().needs


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(AnysizeError, match=r"no method is called 'mlr'; did you mean mrl\?"):
        find("methods", "mlr")
    with pytest.raises(AnysizeError, match="no model is called"):
        find("models", "")


def test_a_package_of_a_stranger_registers_by_its_entry_point(monkeypatch):
    entry = importlib.metadata.EntryPoint("theirs", "fractions:Fraction", "anysize.methods")

    def entry_points(*, group, name=None):
        listed = [entry] if group == "anysize.methods" and name in (None, "theirs") else []
        return importlib.metadata.EntryPoints(listed)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert names("methods") == ["theirs"]
    assert find("methods", "theirs").__name__ == "Fraction"


def test_loading_picks_the_class_by_the_manifest(tmp_path):
    Embedder(Nesting(dims=(2, 4)), 4).save(tmp_path / "m")
    assert isinstance(load(tmp_path / "m"), Embedder)
    assert load(tmp_path / "m", dims=2).nesting == Nesting(dims=(2,))
    with pytest.raises(SizeError, match="2, 4"):
        load(tmp_path / "m", dims=3)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="none does not exist"):
        load(tmp_path / "none")
    with pytest.raises(CheckpointError, match="not an anysize model"):
        load(tmp_path)
    (tmp_path / MANIFEST).write_text('{"kind": "emb')
    with pytest.raises(CheckpointError, match="damaged"):
        load(tmp_path)
    write_json(tmp_path / MANIFEST, {"kind": "from-the-future"})
    with pytest.raises(AnysizeError, match=r"no model is called 'from-the-future'; there are: .*embedder"):
        load(tmp_path)
    write_json(tmp_path / MANIFEST, [1, 2])
    with pytest.raises(AnysizeError):
        load(tmp_path)
