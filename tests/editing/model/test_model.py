import json
from itertools import pairwise

import pytest
import torch

import anysize as az
from anysize.backbones.blocks import find_stack
from anysize.backbones.causal import CausalLM
from anysize.core.errors import AnysizeError, DataError
from anysize.editing import Delta, Editor, EditRequest, MuKE
from anysize.editing.shifts.optimise import NotFiniteError
from anysize.editing.shifts.suffix import layers_of
from anysize.testing import check_nested_model
from tests.editing.conftest import FIRST, OTHER, TARGET, byte_pairs, tiny

OPTIONS = {"layers": (2,), "window": 14, "v_steps": 8, "preserve_weight": 0.01}


@pytest.fixture(scope="module", params=["llama", "bloom"])
def folder(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    tiny(request.param).save_pretrained(str(root))
    byte_pairs(chat=True).save_pretrained(str(root))
    return root


@pytest.fixture(scope="module")
def edits(tmp_path_factory):
    file = tmp_path_factory.mktemp("edits") / "edits.jsonl"
    rows = [{**one.to_json(), "locality_inputs": ["Who wrote it?"]} for one in (FIRST, OTHER)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.fixture(scope="module")
def model(folder, edits):
    return az.fit(edits, method="muke", model=str(folder), **OPTIONS)


def test_the_model_keeps_every_promise(model, folder):
    ids = torch.tensor([[0, 5, 9, 30, 41]])
    base = CausalLM.from_pretrained(str(folder))
    with model_edited(base, model) as plain:
        check_nested_model(
            model, ids, plain=lambda given: plain(input_ids=given).logits, shape=lambda size: (1, 5, 300),
            items=["Who?", "Where?"], options={"max_new_tokens": 3},
        )  # fmt: skip


def model_edited(base, model):
    return Editor(base, MuKE(layers=(2,))).edited(model.delta())


def test_each_size_writes_so_many_windows(model, folder):
    encoded = model.prompting.encode(FIRST)
    record = model.told["records"][0]
    bounds = record["bounds"]
    for windows in (1, 2, len(bounds) - 1):
        losses = model.at(windows=windows).losses([encoded])[0]
        means = [float(losses[a:b].mean()) for a, b in pairwise(bounds)]
        assert means[:windows] == pytest.approx(record["injected_nll"][windows][:windows], abs=0.8)
    assert model.losses([encoded])[0].mean() < model.before().losses([encoded])[0].mean()
    untouched = CausalLM.from_pretrained(str(folder))
    ids = torch.tensor([encoded.ids])
    torch.testing.assert_close(model.before()(ids), untouched(ids))


def test_a_model_is_edited_for_a_while_and_then_is_bit_by_bit_as_before(folder):
    editor = Editor(str(folder), MuKE(**OPTIONS))
    before = {name: value.clone() for name, value in editor.lm.state_dict().items()}
    with editor.edited([OTHER]) as lm:
        assert any(not torch.equal(value, before[name]) for name, value in lm.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in editor.lm.state_dict().items())


def test_an_edit_that_diverges_is_left_out_whole_and_named(folder, edits, monkeypatch):
    plan = Editor.plan

    def failing(self, request, *given):
        if request.id == "0":
            raise NotFiniteError("the loss of window 1 of 2 is nan")
        return plan(self, request, *given)

    monkeypatch.setattr(Editor, "plan", failing)
    made = az.fit(edits, method="muke", model=str(folder), **OPTIONS)
    assert [one.id for one in made.requests] == ["1"]
    assert made.about["left_out"] == {"0": "the loss of window 1 of 2 is nan"}
    assert MuKE().told(made, "OUT").startswith("left out: edit 0: the loss of window 1 of 2 is nan\nOUT: ")
    alone = Editor(str(folder), MuKE(**OPTIONS)).delta([OTHER])
    for name, change in made.changes().items():
        torch.testing.assert_close(change.change(), alone.changes[name].change())


@pytest.mark.parametrize("sequential", [False, True])
def test_a_run_that_was_killed_goes_on_with_the_edit_it_was_at(folder, edits, tmp_path, monkeypatch, sequential):
    whole = az.fit(edits, method="muke", model=str(folder), sequential=sequential, **OPTIONS)
    asked, plan = [], Editor.plan

    def stopping(self, request, *given):
        asked.append(request.id)
        if asked == ["0", "1"]:
            raise KeyboardInterrupt
        return plan(self, request, *given)

    monkeypatch.setattr(Editor, "plan", stopping)
    with pytest.raises(KeyboardInterrupt):
        az.fit(edits, method="muke", model=str(folder), out=tmp_path / "edited", sequential=sequential, **OPTIONS)
    made = az.fit(
        edits, method="muke", model=str(folder), out=tmp_path / "edited", resume=True, sequential=sequential, **OPTIONS
    )
    assert asked == ["0", "1", "1"]
    for name, change in made.changes().items():
        torch.testing.assert_close(change.change(), whole.changes()[name].change())


def test_edits_in_sequence_see_those_before(folder, edits):
    together, after = (
        az.fit(edits, method="muke", model=str(folder), sequential=one, **OPTIONS).told["records"][1]["injected_nll"]
        for one in (False, True)
    )
    assert together[0] != after[0]


@pytest.mark.parametrize("writer", ["alphaedit", "unke", "ft"])
def test_every_writer_makes_a_model_that_comes_back(folder, edits, tmp_path, writer):
    made = az.fit(
        edits,
        method="muke",
        model=str(folder),
        writer=writer,
        null=0.5,
        lr=3e-3,
        write_steps=12,
        out=tmp_path / "edited",
        **OPTIONS,
    )
    again = az.load(tmp_path / "edited")
    pairs = [made.prompting.encode(one) for one in (FIRST, OTHER)]
    losses = [float(one.mean()) for one in again.losses(pairs)]
    assert losses == pytest.approx([float(one.mean()) for one in made.losses(pairs)], abs=1e-5)
    assert sum(losses) < sum(float(one.mean()) for one in made.before().losses(pairs))
    assert len(made.nesting) == (1 if writer == "ft" else made.nesting.full["windows"])


def test_bad_edits_are_refused_before_anything_is_made(folder, tmp_path):
    row = {"prompt": FIRST.prompt, "target_new": TARGET}
    for rows, said in (
        ([{**row, "target_new": ""}], "target_new is empty"),
        ([row, row], "edits 1 and 2 are the same"),
        ([row, {**row, "target_new": "In Oslo."}], "edits 1 and 2 are in conflict"),
        ([{**row, "target_new": "word " * 200}], "edit 1: the prompt has"),
        ([{**row, "prompt": TARGET}], "the prompt already holds the target"),
        ([{"text": "no edit"}], "muke needs prompt, target_new"),
    ):
        if said == "edit 1: the prompt has" and "bloom" in str(folder):
            continue  # a model without places reads any length
        with pytest.raises(DataError, match=said):
            az.fit(rows, method="muke", model=str(folder), out=tmp_path / "edited", **OPTIONS)
        assert not list(tmp_path.iterdir())
    with pytest.raises(AnysizeError, match="there is no layer 9; this model has layers 0 to 3"):
        az.fit([row], method="muke", model=str(folder), layers=(9,))


def test_layers_are_named_by_number_path_or_depth(folder):
    lm = CausalLM.from_pretrained(str(folder)).lm
    path = find_stack(lm).path
    assert layers_of(lm, [0, f"{path}.1", "50%", "99%"]) == [0, 1, 2, 3]
    for wrong in ("5", "model.layer.2", "100%", -1, f"{path}.4"):
        with pytest.raises(AnysizeError, match=rf"this model has layers 0 to 3, which are {path}.0 to {path}.3, or by"):
            layers_of(lm, [wrong])
    for falling in ([3, 2], [1, f"{path}.1"]):
        with pytest.raises(AnysizeError, match="layers rise, each named once"):
            layers_of(lm, falling)
    assert az.fit([FIRST.to_json()], method="muke", model=str(folder), layers=["25%"], v_steps=2).told["records"]


def test_folders_that_cannot_be_edited_are_refused_before_they_are_loaded(model, folder, tmp_path):
    model.save(tmp_path / "edited")
    with pytest.raises(AnysizeError, match="is a model of anysize; make a checkpoint of it first"):
        az.fit([FIRST.to_json()], method="muke", model=str(tmp_path / "edited"))
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": {"load_in_8bit": True}}))
    with pytest.raises(AnysizeError, match=r"this model is quantised \(its configuration says so\)"):
        az.fit([FIRST.to_json()], method="muke", model=str(tmp_path))


def test_exports_are_an_ordinary_checkpoint_or_the_edits_alone(model, tmp_path):
    from transformers import AutoModelForCausalLM

    model.export(tmp_path / "patched")
    patched = AutoModelForCausalLM.from_pretrained(str(tmp_path / "patched")).eval()
    ids = torch.tensor([[0, 5, 9]])
    with torch.no_grad():
        torch.testing.assert_close(patched(input_ids=ids).logits, model(ids), atol=1e-5, rtol=1e-5)
    model.at(windows=1).export(tmp_path / "less", "delta", without=["1"])
    delta = Delta.load(tmp_path / "less" / "edits.safetensors")
    assert [one.id for one in delta.requests] == ["0"]
    assert delta.windows == 1
    for name, change in delta.changes.items():
        left = model.changes()[name].left[:1, :1]
        right = model.changes()[name].right[:1, :1]
        torch.testing.assert_close(change.change(), left[0].T @ right[0])


def test_a_splitter_of_ones_own_cuts_the_target(folder):
    editor = Editor(str(folder), MuKE(**{**OPTIONS, "v_steps": 1}), splitter=lambda target, length: [0, length + 1])
    plan = editor.plan(OTHER)
    assert plan.bounds == [0, 15, len(plan.encoded.target)]


def test_what_cannot_be_asked_of_the_method_is_refused():
    for options, said in (
        ({"layers": ()}, "name at least one layer"), ({"sequential": True, "writer": "ft"}, "in closed form alone"),
        ({"v_lr": 1e38}, "v-lr is at most 10000; got 1e"),
        ({"v_stop": -1.0}, "v-stop is at least 0"), ({"window": 0}, "window must be above zero"),
    ):  # fmt: skip
        with pytest.raises(AnysizeError, match=said):
            MuKE(**options)
    with pytest.raises(AnysizeError, match="name the model to start from"):
        az.fit([EditRequest("a", "b").to_json()], method="muke")
