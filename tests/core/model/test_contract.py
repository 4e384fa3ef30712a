from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anysize.core import digests
from anysize.core.errors import AnysizeError, CheckpointError, SizeError
from anysize.core.files import read_json, write_json
from anysize.core.model import checkpoint
from anysize.core.model.contract import NestedModel
from anysize.core.model.manifest import MANIFEST
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.rivals import rival
from tests.conftest import undigested
from tests.core.model.test_battery import EXAMPLE, Projection, Shifted, filled
from tests.core.model.test_checkpoint import flip


class Other(Projection):
    kind = "test-other"


@pytest.fixture
def model():
    return filled(Projection)


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def edit(folder, **changes):
    write_json(folder / MANIFEST, {**read_json(folder / MANIFEST, "a model"), **changes})


def test_a_view_shares_weights_and_leaves_the_model(model):
    view = model.at(dims=2)
    model.weight.data[0, 0] = 7
    assert view.weight[0, 0] == 7
    assert model.size == Size(dims=8)
    assert torch.equal(view(EXAMPLE), EXAMPLE @ model.weight[:2].T)


def test_a_view_of_a_view_may_grow_again(model):
    assert model.at(dims=2).at(dims=8)(EXAMPLE).shape == (5, 8)


def test_a_view_by_size_and_by_axis_agree(model):
    assert torch.equal(model.at(Size(dims=4))(EXAMPLE), model.at(dims=4)(EXAMPLE))


def test_untrained_size(model):
    with pytest.raises(SizeError, match="trained for dims 2, 4, 8; 3 lies between 2 and 4"):
        model.at(dims=3)


def test_extract_stands_alone(model):
    small = model.extract(dims=4)
    assert small.nesting == Nesting(dims=(2, 4))
    assert small.weight.shape == (4, 6)
    before = small(EXAMPLE)
    model.weight.data.zero_()
    assert torch.equal(small(EXAMPLE), before)
    assert small.about == model.about
    assert small.about is not model.about


def test_extract_of_a_view_keeps_its_size(model):
    assert model.at(dims=2).extract().nesting == Nesting(dims=(2,))


def test_load_whole_and_at_a_size(model, saved):
    assert torch.equal(Projection.load(saved)(EXAMPLE), model(EXAMPLE))
    small = Projection.load(saved, dims=4)
    assert small.weight.shape == (4, 6)
    assert torch.allclose(small(EXAMPLE), model.at(dims=4)(EXAMPLE))
    assert not small.training


def test_fingerprint_follows_the_weights_and_survives_a_partial_load(model, saved):
    assert Projection.load(saved, dims=2).fingerprint == model.fingerprint
    changed = filled(Projection)
    changed.weight.data[7, 5] += 1
    assert changed.fingerprint != model.fingerprint


def test_a_partial_load_can_be_saved_and_loaded(saved, model, tmp_path):
    Projection.load(saved, dims=4).save(tmp_path / "small")
    again = Projection.load(tmp_path / "small")
    assert torch.equal(again.weight, model.weight[:4])
    with pytest.raises(SizeError, match="trained for dims 2, 4"):
        Projection.load(tmp_path / "small", dims=8)


def test_an_altered_byte_matters_only_where_it_is_read(saved):
    flip(saved / checkpoint.WEIGHTS, "weight[4:8]")
    Projection.load(saved, dims=4)
    with pytest.raises(CheckpointError, match=r"weight\[4:8\]"):
        Projection.load(saved)


def test_weights_cut_short(saved):
    path = saved / checkpoint.WEIGHTS
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="cut short"):
        Projection.load(saved)


def test_weights_missing(saved):
    (saved / checkpoint.WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        Projection.load(saved)


def test_manifest_cut_short(saved):
    content = (saved / MANIFEST).read_text()
    (saved / MANIFEST).write_text(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="cannot be read as an anysize model"):
        Projection.load(saved)


def test_not_a_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"is not an anysize model: it holds no anysize\.json"):
        Projection.load(tmp_path)


def test_another_kind(saved):
    with pytest.raises(CheckpointError, match="of kind 'test-projection', not 'test-other'"):
        Other.load(saved)


def test_a_newer_format(saved):
    edit(saved, format=3)
    with pytest.raises(CheckpointError, match="newer anysize, in format 3; this one reads up to 2, so update"):
        Projection.load(saved)


def test_what_a_newer_version_says_besides_is_no_alteration(saved):
    known = {name: value for name, value in read_json(saved / MANIFEST, "a model").items() if name != "sha256"}
    write_json(saved / MANIFEST, digests.signed({**known, "moods": ["calm"]}))
    with pytest.raises(CheckpointError, match=r"newer anysize: anysize\.json says moods, .* so update anysize"):
        Projection.load(saved)
    edit(saved, moods=["cross"])
    with pytest.raises(CheckpointError, match="was altered"):
        Projection.load(saved)


@pytest.mark.parametrize("given", [0, True, "2", 1.0], ids=str)
def test_a_format_that_is_none(saved, given):
    edit(saved, format=given)
    with pytest.raises(CheckpointError, match=r"its format is .*; it may be damaged"):
        Projection.load(saved)


def test_a_manifest_without_its_checksum_is_only_of_the_first_format(saved, model):
    whole = read_json(saved / MANIFEST, "a model")
    edit(undigested(saved), format=2)
    with pytest.raises(CheckpointError, match="was altered"):
        Projection.load(saved)
    rest = {name: value for name, value in whole.items() if name not in ("facts", "sha256")}
    write_json(saved / MANIFEST, digests.signed({**rest, "format": 1}))
    assert torch.equal(Projection.load(saved)(EXAMPLE), model(EXAMPLE))


def test_saving_refuses_a_foreign_directory(model, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="is not ours to replace"):
        model.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_saving_replaces_an_older_model(model, saved):
    model.weight.data.zero_()
    model._fingerprint = None
    model.save(saved)
    assert not Projection.load(saved).weight.any()


def test_a_failed_save_leaves_the_older_model(model, saved, monkeypatch):
    def full_disk(directory):
        raise OSError(28, "No space left on device")

    before = model(EXAMPLE)
    monkeypatch.setattr(model, "save_parts", full_disk)
    with pytest.raises(OSError, match="No space left"):
        model.save(saved)
    assert torch.equal(Projection.load(saved)(EXAMPLE), before)
    assert [file.name for file in saved.parent.iterdir()] == ["model"]


DYING_SAVE = """
import os, signal, sys
from tests.core.model.test_battery import Projection, filled

class Dying(Projection):
    def save_parts(self, directory):
        os.kill(os.getpid(), signal.SIGKILL)  # the weights are written by now, the manifest is not

model = filled(Dying)
model.weight.data += 1
model.save(sys.argv[1])
"""


def test_a_save_that_is_killed_leaves_the_older_model(model, saved):
    command = [sys.executable, "-c", DYING_SAVE, str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert torch.equal(Projection.load(saved)(EXAMPLE), model(EXAMPLE))
    model.weight.data += 2
    model.save(saved)  # what the killed one left beside it is in nobody's way
    assert torch.equal(Projection.load(saved)(EXAMPLE), model(EXAMPLE))


def test_the_manifest_is_json_that_names_every_block(saved):
    manifest = json.loads((saved / MANIFEST).read_text())
    assert [block["block"] for block in manifest["tensors"]["weight"]["blocks"]] == [
        "weight[0:2]",
        "weight[2:4]",
        "weight[4:8]",
    ]


def test_a_family_that_says_nothing_is_told_so():
    model = NestedModel(Nesting(dims=(2, 4)))
    with pytest.raises(NotImplementedError, match="does not say how it runs"):
        model(EXAMPLE)
    model.kind = "bare"
    with pytest.raises(AnysizeError, match="has no rival called 'pca'"):
        rival(model, "pca", None)


def test_the_fingerprint_changes_when_training_goes_on(model, saved):
    loaded = Projection.load(saved)
    before = loaded.fingerprint
    with torch.no_grad():
        loaded.weight.add_(1)
    assert loaded.fingerprint != before
    assert loaded.at(dims=2).fingerprint == loaded.fingerprint


def test_half_precision_is_kept(model, tmp_path):
    model.half().save(tmp_path / "model")
    assert Projection.load(tmp_path / "model").weight.dtype == torch.float16
    assert model.extract(dims=2).weight.dtype == torch.float16


def test_a_tensor_of_one_size_is_not_read_by_smaller_ones(tmp_path):
    model = filled(Shifted)
    model.save(tmp_path / "model")
    flip(tmp_path / "model" / checkpoint.WEIGHTS, "shifts.2[0:8]")
    small = Shifted.load(tmp_path / "model", dims=4)
    assert set(small.state_dict()) == {"weight", "gain", "shifts.0", "shifts.1"}
    assert torch.allclose(small(EXAMPLE), model.at(dims=4)(EXAMPLE))
    with pytest.raises(CheckpointError, match=r"shifts\.2"):
        Shifted.load(tmp_path / "model")


@pytest.mark.parametrize("missing", ["nesting", "config", "about", "fingerprint", "tensors"])
def test_a_manifest_that_lacks_a_part(saved, missing):
    manifest = read_json(saved / MANIFEST, "a model")
    del manifest[missing]
    write_json(saved / MANIFEST, manifest)
    with pytest.raises(CheckpointError, match=f"lacks {missing}; it may be damaged"):
        Projection.load(saved)


@pytest.mark.parametrize("content", [[], {}, "model", {"kind": "test-projection"}])
def test_json_that_is_no_manifest(saved, content):
    write_json(saved / MANIFEST, content)
    with pytest.raises(CheckpointError, match=r"does not describe a model|holds no JSON object"):
        Projection.load(saved)


def test_weights_that_do_not_fit_the_configuration(saved):
    manifest = read_json(undigested(saved) / MANIFEST, "a model")
    manifest["tensors"]["other"] = manifest["tensors"]["gain"]
    write_json(saved / MANIFEST, manifest)
    with pytest.raises(CheckpointError, match=r"does not fit its own description \(it has an unknown other\)"):
        Projection.load(saved)


def test_only_the_saved_state_is_saved(tmp_path):
    class WithGuest(Projection):
        kind = "test-guest"

        def __init__(self, nesting, width):
            super().__init__(nesting, width)
            self.guest = torch.nn.Linear(2, 2)

        def saved_state(self):
            return {name: value for name, value in self.state_dict().items() if not name.startswith("guest")}

    model = filled(WithGuest)
    model.save(tmp_path / "model")
    assert not any("guest" in name for name in read_json(tmp_path / "model" / MANIFEST, "a model")["tensors"])
    assert torch.equal(WithGuest.load(tmp_path / "model")(EXAMPLE), model(EXAMPLE))


def test_loading_in_inference_mode_gives_what_loading_elsewhere_gives(model, saved):
    with torch.inference_mode():
        loaded = Projection.load(saved)
        small, fingerprint = loaded.extract(dims=4), loaded.fingerprint
    assert fingerprint == model.fingerprint
    assert not any(value.is_inference() for value in loaded.state_dict().values())
    assert torch.equal(small.weight, model.weight[:4])
    with torch.no_grad():
        loaded.weight[0, 0] += 1
    assert loaded.fingerprint != fingerprint


def test_what_a_kind_has_not_is_refused_in_a_sentence(tmp_path):
    model = filled(Projection)
    assert model.for_task(None) is model
    for ask, words in (
        (lambda: model.for_task("separation"), "was asked for the task 'separation', but it has none; leave it out"),
        (lambda: model.convert(), "cannot be converted; it knows no other library, so extract it"),
        (
            lambda: model.export(tmp_path / "out", "onnx"),
            "cannot be written as onnx; it knows no other library, so save it",
        ),
    ):
        with pytest.raises(AnysizeError, match=words):
            ask()
    assert not (tmp_path / "out").exists()
