"""Fits that end well, that are killed, interrupted, resumed, or should never have begun."""

from __future__ import annotations

import json
import signal
from typing import get_args

import numpy as np
import pytest
import torch

from anysize.core.data.read import read
from anysize.core.errors import AnysizeError, CheckpointError, DataError, SizeError
from anysize.core.files import lock, write_json
from anysize.core.registry import find, names
from anysize.core.training import trainer as training
from anysize.core.training.checkpoints import last_checkpoint
from anysize.core.verbs.fit import Pretraining, fit
from anysize.core.verbs.load import load
from anysize.text.embedder.fit import encoder_of
from anysize.text.embedder.method import MRL
from tests.conftest import WIDTH, spread_vectors, write_pairs
from tests.processes import die, killed, together

METHOD = MRL(dims=(4, 8), epochs=10, batch_size=32, seed=3)  # 128 rows: 40 steps, a checkpoint every 4


def at_step(step, act, replace=setattr, within=""):
    """From now on, training (in a folder that is called `within`) calls `act` at the end of that step."""
    from transformers import TrainerCallback

    class Act(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == step and within in args.output_dir:
                act()

    replace(training, "use_plain_bar", lambda trainer: trainer.add_callback(Act()))


@pytest.fixture
def interrupt(monkeypatch):
    """Calling it makes the next fit stop as by Ctrl-C at that step; `monkeypatch.undo` lets it run again."""

    def arrange(step):
        at_step(step, lambda: signal.raise_signal(signal.SIGINT), monkeypatch.setattr)

    return arrange


@pytest.fixture
def vectors(tmp_path):
    np.save(tmp_path / "v.npy", spread_vectors(128))
    return tmp_path / "v.npy"


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_saves_what_it_returns_and_leaves_nothing_else(vectors, tmp_path):
    model = fit(vectors, method=METHOD, out=tmp_path / "m")
    assert same(state(load(tmp_path / "m")), state(model))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "v.npy"]


def test_without_a_place_nothing_is_written(vectors, tmp_path):
    fit(vectors, dims=(4, 8), epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["v.npy"]
    with pytest.raises(AnysizeError, match="give out"):
        fit(vectors, dims=(4, 8), resume=True)


def test_methods_go_by_name_or_as_objects(vectors):
    assert fit(vectors, method="mrl", dims=(4, 8), epochs=1).about["options"]["epochs"] == 1
    with pytest.raises(AnysizeError, match="on the method object"):
        fit(vectors, method=METHOD, epochs=1)
    with pytest.raises(AnysizeError, match=r"no method is called 'nope'.*mrl"):
        fit(vectors, method="nope")


def test_killed_in_the_middle_it_resumes_to_the_same_weights(vectors, tmp_path):
    undisturbed = state(fit(vectors, method=METHOD))

    def work():
        at_step(23, die)
        fit(vectors, method=METHOD, out=tmp_path / "m")

    killed(work)
    assert not (tmp_path / "m").exists()
    steps = [int(path.name.split("-")[1]) for path in (tmp_path / "m.partial" / "checkpoints").iterdir()]
    assert max(steps) == 20
    resumed = fit(vectors, method=METHOD, out=tmp_path / "m", resume=True)
    assert resumed.about["losses"][-1]["step"] == 40
    assert same(state(resumed), undisturbed)
    assert same(state(load(tmp_path / "m")), undisturbed)
    assert not (tmp_path / "m.partial").exists()


def test_resuming_continues_and_does_not_start_again(vectors, tmp_path, interrupt, monkeypatch):
    interrupt(23)
    with pytest.raises(KeyboardInterrupt):
        fit(vectors, method=METHOD, out=tmp_path / "m")
    monkeypatch.undo()
    seen = []
    at_step(21, lambda: seen.append(21), monkeypatch.setattr)
    fit(vectors, method=METHOD, out=tmp_path / "m", resume=True)
    assert seen == [21]
    at_step(20, lambda: seen.append(20), monkeypatch.setattr)
    fit(vectors, method=METHOD, out=tmp_path / "m", resume=True)
    assert seen == [21]


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_checkpoint_that_was_being_written_is_passed_over(damage, vectors, tmp_path, interrupt, monkeypatch):
    undisturbed = state(fit(vectors, method=METHOD))
    interrupt(23)
    with pytest.raises(KeyboardInterrupt):
        fit(vectors, method=METHOD, out=tmp_path / "m")
    monkeypatch.undo()
    last = tmp_path / "m.partial" / "checkpoints" / "checkpoint-20" / "trainer_state.json"
    if damage == "missing":
        last.unlink()
    else:
        last.write_text(last.read_text()[:100])
    (last.parent / "model.safetensors").write_bytes(b"half")
    assert same(state(fit(vectors, method=METHOD, out=tmp_path / "m", resume=True)), undisturbed)


def test_killed_before_the_first_checkpoint_it_starts_over(vectors, tmp_path, interrupt, monkeypatch):
    undisturbed = state(fit(vectors, method=METHOD))
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        fit(vectors, method=METHOD, out=tmp_path / "m")
    monkeypatch.undo()
    assert same(state(fit(vectors, method=METHOD, out=tmp_path / "m", resume=True)), undisturbed)


def test_a_head_from_pairs_with_a_corpus_resumes_to_the_same_weights(tmp_path, encoder_path, interrupt, monkeypatch):
    """Its loss draws documents at random: the state of the generator must be resumed as well."""
    from anysize.text.docstrings import Documented, write_beir

    texts = [json.loads(line) for line in write_pairs(tmp_path / "p.jsonl").read_text().splitlines()]
    write_beir([Documented("f", row["anchor"], row["positive"]) for row in texts], tmp_path / "beir", held_out=20)
    method = MRL(model=str(encoder_path), dims=(4, 8), epochs=10, batch_size=16, keep=2.0)
    undisturbed = state(fit(tmp_path / "beir", method=method))
    interrupt(13)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "beir", method=method, out=tmp_path / "m")
    monkeypatch.undo()
    assert list((tmp_path / "m.partial").glob("features-*.npz"))
    assert same(state(fit(tmp_path / "beir", method=method, out=tmp_path / "m", resume=True)), undisturbed)


def test_a_full_model_is_tuned_for_two_steps_and_resumes(tmp_path, encoder_path, interrupt, monkeypatch):
    data = read(write_pairs(tmp_path / "p.jsonl", 40))
    method = MRL(model=str(encoder_path), tune="full", dims=(8, WIDTH), batch_size=16, learning_rate=1e-3)
    assert len(data.training_pairs()) // 16 == 2
    undisturbed = state(fit(data, method=method).encoder.model)
    assert not same(undisturbed, state(encoder_of(method).model))
    interrupt(2)  # after the checkpoint of step 1, before that of step 2
    with pytest.raises(KeyboardInterrupt):
        fit(data, method=method, out=tmp_path / "m")
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "m.partial" / "checkpoints").iterdir()] == ["checkpoint-1"]
    fit(data, method=method, out=tmp_path / "m", resume=True)
    assert same(state(load(tmp_path / "m").encoder.model), undisturbed)


def test_an_interrupt_leaves_the_old_model(vectors, tmp_path, interrupt):
    before = state(fit(vectors, method=METHOD, out=tmp_path / "m"))
    interrupt(23)
    with pytest.raises(KeyboardInterrupt):
        fit(vectors, method=MRL(dims=(2, 4), epochs=10, batch_size=32), out=tmp_path / "m")
    assert same(state(load(tmp_path / "m")), before)


@pytest.fixture
def unfinished(vectors, tmp_path, interrupt, monkeypatch):
    interrupt(5)
    with pytest.raises(KeyboardInterrupt):
        fit(vectors, method=METHOD, out=tmp_path / "m")
    monkeypatch.undo()
    return tmp_path / "m"


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_an_unfinished_run_stands_until_it_is_resumed(unfinished, vectors):
    partial = unfinished.parent / "m.partial"
    before = files(partial)
    with pytest.raises(AnysizeError, match="add --resume"):
        fit(vectors, method=METHOD, out=unfinished)
    with pytest.raises(AnysizeError, match="different options dims, seed"):
        fit(vectors, method=MRL(dims=(4, 16), epochs=10, batch_size=32), out=unfinished, resume=True)
    np.save(unfinished.parent / "other.npy", spread_vectors(128, seed=1))
    with pytest.raises(AnysizeError, match="started with different data;"):
        fit(unfinished.parent / "other.npy", method=METHOD, out=unfinished, resume=True)
    before.pop(partial / "lock")
    after = files(partial)
    after.pop(partial / "lock")
    assert after == before


def test_a_second_fit_at_the_same_time_is_refused(vectors, tmp_path):
    (tmp_path / "m.partial").mkdir()
    with lock(tmp_path / "m.partial" / "lock", "busy"):
        for resume in (False, True):
            with pytest.raises(AnysizeError, match="another fit is writing"):
                fit(vectors, method=METHOD, out=tmp_path / "m", resume=resume)
    assert [path.name for path in (tmp_path / "m.partial").iterdir()] == ["lock"]


def test_there_must_be_something_to_resume(vectors, tmp_path):
    with pytest.raises(AnysizeError, match="no unfinished run"):
        fit(vectors, method=METHOD, out=tmp_path / "m", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["v.npy"]


def test_resuming_a_finished_run_gives_its_model(vectors, tmp_path):
    model = fit(vectors, method=METHOD, out=tmp_path / "m")
    assert same(state(fit(vectors, method=METHOD, out=tmp_path / "m", resume=True)), state(model))
    with pytest.raises(AnysizeError, match="other options or data"):
        fit(vectors, method=MRL(dims=(4, 16)), out=tmp_path / "m", resume=True)


def test_bad_input_leaves_nothing_in_the_way_of_the_next_try(vectors, tmp_path):
    with pytest.raises(SizeError, match="exceeds"):
        fit(vectors, method=MRL(dims=(4, 64)), out=tmp_path / "m")
    with pytest.raises(DataError, match="exist"):
        fit(tmp_path / "none.npy", method=METHOD, out=tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["v.npy"]
    fit(vectors, method=METHOD, out=tmp_path / "m")


def test_what_is_not_a_model_is_not_replaced(vectors, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.tex").write_text("x")
    with pytest.raises(CheckpointError, match="not ours"):
        fit(vectors, method=METHOD, out=tmp_path / "m")
    write_json(tmp_path / "f", 1)
    with pytest.raises(CheckpointError, match="not ours"):
        fit(vectors, method=METHOD, out=tmp_path / "f")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "m", "v.npy"]


def test_two_processes_train_and_resume_to_the_same_weights(vectors, tmp_path, encoder_path):
    """A head, and a whole encoder in bfloat16; see `in_two_processes`."""
    write_pairs(tmp_path / "p.jsonl", 40)
    from tests.core.verbs.in_two_processes import main

    together(2, lambda: main(tmp_path, str(encoder_path)))
    assert load(tmp_path / "head").about["losses"][-1]["step"] == 16  # 128 rows, 2 x 16 a step, 4 epochs
    assert load(tmp_path / "full").at(dims=8).encode(["balan"]).shape == (1, 8)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_only_has_the_name_of_an_unfinished_run_is_left_alone(vectors, tmp_path, resume):
    partial = tmp_path / "m.partial"
    (partial / "checkpoints" / "checkpoint-5").mkdir(parents=True)
    (partial / "thesis.tex").write_text("x")
    with pytest.raises(CheckpointError, match="holds something else"):
        fit(vectors, method=METHOD, out=tmp_path / "m", resume=resume)
    assert (partial / "thesis.tex").read_text() == "x"
    assert (partial / "checkpoints" / "checkpoint-5").is_dir()


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("where", ["m", "m.partial", "m.partial/checkpoints", "m.partial/run.json"])
@pytest.mark.parametrize("dangling", [False, True])
def test_no_run_goes_through_a_link(vectors, tmp_path, resume, where, dangling):
    there = tmp_path / "precious"
    if not dangling:
        (there / "checkpoints" / "checkpoint-5").mkdir(parents=True)
        (there / "anysize.json").write_text("{}")
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).symlink_to(there)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match="symbolic link"):
        fit(tmp_path / "no data are read", method=METHOD, out=tmp_path / "m", resume=resume)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"options": 1, "method": "MRL", "data": "x"}', b"\xff"])
def test_a_damaged_note_of_the_run_is_named(unfinished, vectors, content):
    (unfinished.parent / "m.partial" / "run.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        fit(vectors, method=METHOD, out=unfinished, resume=True)


def test_a_full_disk_says_resume_only_where_there_is_something_to_resume(vectors, tmp_path, monkeypatch):
    def full(self, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MRL, "fit", full)
    with pytest.raises(OSError, match="No space") as said:
        fit(vectors, method=METHOD, out=tmp_path / "m")
    assert said.value.__notes__ == ["with --resume, which continues it"]
    monkeypatch.undo()
    fit(vectors, method=METHOD, out=tmp_path / "m", resume=True)
    monkeypatch.setattr("anysize.core.verbs.fit.write_json", full)
    with pytest.raises(OSError, match="No space") as said:
        fit(vectors, method=METHOD, out=tmp_path / "n")
    assert not hasattr(said.value, "__notes__")
    monkeypatch.undo()
    fit(vectors, method=METHOD, out=tmp_path / "n")


def test_an_altered_checkpoint_is_named_and_the_one_before_it_serves(unfinished, vectors):
    """One byte of each file of the last checkpoint; the run then gives what an undisturbed one gives."""
    last = last_checkpoint(unfinished.parent / "m.partial")
    for file in sorted(path for path in last.iterdir() if path.is_file()):
        whole = file.read_bytes()
        middle = len(whole) // 2
        file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        if file.name == "trainer_state.json" and last_checkpoint(unfinished.parent / "m.partial") != last:
            file.write_bytes(whole)
            continue  # no longer JSON: passed over
        with pytest.raises(CheckpointError, match=f"{file.name} .*delete {last} to resume from the one before"):
            fit(vectors, method=METHOD, out=unfinished, resume=True)
        file.write_bytes(whole)
    fit(vectors, method=METHOD, out=unfinished, resume=True)


def test_type_checkers_are_told_of_every_method_that_gives_no_nested_model():
    others = {name for name in names("methods") if find("methods", name).loads != "anysize.core.verbs.load:load"}
    assert others == set(get_args(Pretraining))
