"""From a table of pictures, questions and answers to a model at every budget, measured beside its rivals."""

import numpy as np
import pytest

from anysize.backbones.vision.opening import as_vlm
from anysize.core.data.data import Data
from anysize.core.data.records import Table
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.fit import fit
from anysize.core.verbs.load import load
from anysize.core.verbs.measure import measure
from anysize.evaluation.answers import questions_of
from anysize.tokens import M3, MQT
from anysize.tokens.vlm.fit import usual
from anysize.tokens.vlm.model import NestedVLM
from tests.tiny_vlm import drawn, tiny_llava
from tests.tokens.vlm.test_model import POOL

WORDS = ("red", "green", "blue", "one", "two")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vlm") / "vlm"
    net, processor = tiny_llava()
    net.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def shown(count, seed):
    """Pictures in memory, so that the same are held out wherever this runs."""
    words = [WORDS[place % 5] for place in range(count)]
    columns = {
        "image": [np.asarray(one) for one in drawn(count, seed=seed)],
        "question": [f"what is there {word}" for word in words],
        "answer": words,
        "kind": ["colour" if word in WORDS[:3] else "number" for word in words],
    }
    return Data("shown", f"shown {count} {seed}", table=Table(columns, {"image": "image"}))


DATA = shown(20, 1)


def test_m3_is_fitted_saved_and_measured_beside_its_rivals(model, tmp_path):
    fit(DATA, method="m3", model=model, tokens=(1, 4, 16), out=tmp_path / "eye", epochs=12.0, batch_size=6,
        learning_rate=1e-2)  # fmt: skip
    eye = load(tmp_path / "eye")
    assert eye.kind == "vlm"
    assert [size.tokens for size in eye.nesting] == [1, 4, 16]
    frontier = measure(eye, DATA, arms=["full-cut", "random"], max_new_tokens=2, by="answers")
    assert "held out" in frontier.meta["task"]
    there = {(record.arm, record.size.tokens) for record in frontier.records}
    assert there == {(arm, tokens) for arm in ("nested", "full-cut", "random") for tokens in (1, 4, 16)}
    assert {name for record in frontier.records for name in record.metrics} >= {"accuracy"}
    learnt = measure(eye, shown(19, 1))
    assert min(record.metrics["accuracy"] for record in learnt.records) > 0.5
    assert learnt.records[0].metrics.keys() == {"accuracy", "accuracy_colour", "accuracy_number"}
    assert [record.bytes for record in learnt.records] == [128, 512, 2048]
    assert all(record.ms > 0 for record in learnt.records)


def test_mqt_aligns_its_queries_first(model, tmp_path):
    made = fit(DATA, method=MQT(model=model, tokens=(1, 2, 8), heads=4, epochs=2.0, batch_size=6, align_epochs=2.0))
    assert made.about["learnt_from"] == "questions"
    assert [entry["step"] for entry in made.about["losses"]].count(1) == 2  # two trainings, one after the other
    made.save(tmp_path / "eye")
    assert load(tmp_path / "eye").generate([[{"image": drawn(1)[0]}, {"text": "what"}]], max_new_tokens=1)


def test_one_pass_of_the_tower_measures_every_size(model):
    made = fit(DATA, method=M3(model=model, tokens=(1, 4, 16), epochs=1.0, batch_size=6))
    seen = []
    made.net.model.vision_tower.register_forward_hook(lambda *given: seen.append(len(given[2][0])))
    measure(made, shown(20, 2))
    assert seen[0] == 20
    assert set(seen[1:]) <= {1}  # the rest are questions that are timed, one at a time


def test_the_usual_grids():
    assert usual((24, 24)) == (1, 9, 36, 144, 576)
    assert usual((8, 8)) == (1, 4, 16, 64)
    assert usual((37, 37)) == (1, 1369)


def test_a_question_without_words_or_with_too_many_is_named_before_anything_is_learnt(model, tmp_path):
    def changed(column, value):
        columns = {name: list(values) for name, values in DATA.table.columns.items()}
        columns[column][3] = value
        return Data("changed", f"{column} {value}"[:80], table=Table(columns, {"image": "image"}))

    method = M3(model=model, tokens=(1, 4, 16), batch_size=6)
    for column, value, told in (
        ("question", None, "the question about .* is None; expected words"),
        ("question", " <image>\n", "the question about .*; expected words"),
        ("question", "what " * 60, "takes 78 tokens, 16 of them for pictures, and the model reads 64; ask in fewer"),
        ("answer", {"said": "red"}, "the answer about .* expected a text, a number, or several"),
    ):
        with pytest.raises(AnysizeError, match=told):
            fit(changed(column, value), method=method, out=tmp_path / "eye")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AnysizeError, match="with 16 more for its answer, and the model reads 64"):
        measure(NestedVLM(Nesting(tokens=(1, 16)), as_vlm(*tiny_llava()), POOL), changed("question", "what " * 60))
    assert questions_of(changed("answer", 3.0)).answers[3] == ["3"]
    assert questions_of(changed("answer", 1234567)).answers[3] == ["1234567"]
    assert questions_of(changed("answer", [2, "two"])).answers[3] == ["2", "two"]
    assert questions_of(changed("answer", None)).answers[3] == []


def test_what_cannot_be_learnt_is_refused(model):
    with pytest.raises(AnysizeError, match=r"name the model to start from with --model.* llava-hf"):
        fit(DATA, method="m3")
    with pytest.raises(SizeError, match=r"9 tokens cannot be kept of 4 x 4; expected 1, 4, 16"):
        fit(DATA, method="m3", model=model, tokens=(1, 9))
    with pytest.raises(SizeError, match="name the budgets with --tokens"):
        fit(DATA, method="mqt", model=model)
    with pytest.raises(DataError, match="m3 needs image, question, answer"):
        fit(np.zeros((4, 2), dtype=np.float32), method="m3", model=model)
    with pytest.raises(AnysizeError, match="align-epochs is at least 0"):
        M3(align_epochs=-1.0)


def test_a_layer_without_a_tower_is_refused(model):
    with pytest.raises(AnysizeError, match="give tower-layer beside --tower alone"):
        fit(DATA, method="m3", model=model, tokens=(1, 4), tower_layer=-2)
