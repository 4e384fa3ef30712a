import json

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.frontier.record import is_lower
from anysize.core.verbs.panels import panels
from anysize.editing.measuring.unrelated import PROMPTS, TEXTS
from anysize.editing.writing.usual import PASSAGES, QUESTIONS
from tests.editing.conftest import FIRST, OTHER, byte_pairs, tiny

OPTIONS = {"layers": (2,), "window": 18, "v_steps": 5, "preserve_weight": 0.01}


@pytest.fixture(scope="module")
def rows():
    return [{**one.to_json(), "rephrase_prompts": ["Tell me?"]} for one in (FIRST, OTHER)]


@pytest.fixture(scope="module")
def home(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("lm")
    tiny("llama").save_pretrained(str(root))
    byte_pairs(chat=True).save_pretrained(str(root))
    (root / "edits.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


@pytest.fixture(scope="module")
def model(home):
    return az.fit(home / "edits.jsonl", method="muke", model=str(home), **OPTIONS)


@pytest.fixture(scope="module")
def frontier(model, rows):
    return az.measure(model, rows, arms=("window", "one-for-all", "ft"), by="edits", max_new_tokens=6)


def test_three_levels_and_what_the_rest_pays_are_told_apart(model, frontier):
    full = frontier.full()
    pairs = [model.prompting.encode(one) for one in (FIRST, OTHER)]
    assert full.metrics["nll"] == pytest.approx(np.mean([float(one.mean()) for one in model.losses(pairs)]))
    injected = []
    for record, pair in zip(model.told["records"], pairs, strict=True):
        sizes = np.diff(record["bounds"])
        injected.append((np.array(record["injected_nll"][-1]) * sizes).sum() / len(pair.target))
    assert full.metrics["injected_nll"] == pytest.approx(np.mean(injected), abs=1e-3)
    whole = frontier.full("original").metrics
    assert whole["other_nll_change"] == whole["text_nll_change"] == 0.0
    assert whole["injected_nll"] == pytest.approx(whole["nll"], abs=1e-3)
    assert whole["other_top1_kept"] == whole["text_top1_kept"] == 1.0
    assert full.metrics["text_nll_change"] == pytest.approx(text_change(model), abs=1e-4)
    assert {"paraphrase_nll", "paraphrase_rouge_l_f1", "bleu_char_legacy", "rouge_l_recall"} <= full.metrics.keys()
    small = next(one for one in frontier.arm("nested") if one.size["windows"] == 1)
    assert small.metrics["later_nll_change"] == pytest.approx(later_change(model), abs=1e-4)
    assert all(is_lower(name) for name in full.metrics if "nll" in name)
    assert frontier.metric == "rouge_l_f1"


@torch.no_grad()
def text_change(model):
    found = []
    for text in TEXTS:
        ids = torch.tensor([model.tokenizer(text, truncation=True, max_length=256)["input_ids"]])
        each = []
        for view in (model, model.before()):
            logits = view.language().lm(input_ids=ids[:, :-1]).logits[0]
            each.append(float(torch.nn.functional.cross_entropy(logits, ids[0, 1:])))
        found.append(each[0] - each[1])
    return np.mean(found)


def later_change(model):
    pairs = [model.prompting.encode(one) for one in (FIRST, OTHER)]
    after, before = (view.losses(pairs) for view in (model.at(windows=1), model.before()))
    starts = [record["bounds"][1] for record in model.told["records"]]
    return np.mean([float((one[s:] - two[s:]).mean()) for one, two, s in zip(after, before, starts, strict=True)])


def test_rivals_stand_where_they_hold_the_whole_edit(model, frontier):
    full = int(model.nesting.full["windows"])
    sizes = {arm: [one.size["windows"] for one in frontier.arm(arm)] for arm in frontier.arms}
    assert sizes["window"] == sizes["nested"] == list(range(1, full + 1))
    assert sizes["one-for-all"] == sizes["ft"] == sizes["original"] == [full]
    assert frontier.full("ft").bytes > frontier.full("nested").bytes > frontier.full("original").bytes == 0
    assert frontier.full("window").metrics["nll"] != frontier.full("nested").metrics["nll"]


def test_the_page_tells_first_what_the_rest_pays(model, rows, frontier):
    paid, said = panels(model, rows, frontier)
    assert paid.title == "What the rest of the model pays"
    assert f"{frontier.full('ft').metrics['text_nll_change']:+.3f}" in paid.body
    assert said.body.count("<dt>target</dt>") == 2
    for arm in ("nested", "window", "one-for-all", "ft", "original"):
        assert said.body.count(f"<dt>{arm}</dt>") == 2
    kept = {(one["arm"], one["size"]): one["said"] for one in frontier.meta["said"]}
    assert kept[("original", str(model.size))] == model.before().generate(
        [FIRST.prompt, OTHER.prompt], max_new_tokens=6
    )


def test_an_edit_that_holds_for_its_own_prompt_alone_is_said_to(model, monkeypatch):
    targets = {FIRST.prompt: FIRST.target_new, OTHER.prompt: OTHER.target_new, "And Ole?": OTHER.target_new}
    monkeypatch.setattr(
        type(model), "generate", lambda self, items, **options: [targets.get(one, "no words of it") for one in items]
    )
    asked = [
        {**FIRST.to_json(), "rephrase_prompts": ["And Ada?"]},
        {**OTHER.to_json(), "rephrase_prompts": ["And Ole?"]},
    ]
    frontier = az.measure(model, asked, arms=(), by="edits")
    assert frontier.full().metrics["own_prompt_only"] == 0.5
    said = panels(model, asked, frontier)[1].body.split('<div class="edit">')
    assert ["for this prompt alone" in one for one in said[1:]] == [True, False]


def test_locality_is_measured_on_what_no_write_preserves():
    assert not {*PROMPTS} & {*QUESTIONS}
    assert not {*TEXTS} & {*PASSAGES}


def test_the_face_works_as_typed(home, tmp_path, anysize):
    out, page = tmp_path / "edited", tmp_path / "edits.html"
    told = anysize(
        "fit", home / "edits.jsonl", "--method", "muke", "--model", home, "--layers", 2, "--window", 18,
        "--v-steps", 3, "--out", out,
    )  # fmt: skip
    assert "learnt from 2 edits" in told.out
    told = anysize("measure", out, home / "edits.jsonl", "--html", page, "--by", "edits", "--max-new-tokens", 4)
    assert "rouge_l_f1" in told.out
    assert "What the rest of the model pays" in page.read_text()
    assert anysize("choose", out, "--within", "5%").out
    said = anysize("run", out, FIRST.prompt, "--size", "windows=1", "--before", "--max-new-tokens", 4)
    assert said.out.startswith("edited: ")
    assert "\nbefore: " in said.out
    both = anysize("run", out, FIRST.prompt, "--before", "--max-new-tokens", 4, "--json").json["output"]
    assert both["before"] == az.load(out).before().generate([FIRST.prompt], max_new_tokens=4)[0]
    assert "AutoModelForCausalLM" in anysize("cut", out, "--out", tmp_path / "patched").out
    less = anysize("cut", out, "--format", "delta", "--without", "1", "--out", tmp_path / "less")
    assert "Delta.load" in less.out
    delta = az.editing.Delta.load(tmp_path / "less" / "edits.safetensors")
    assert [one.id for one in delta.requests] == ["0"]
    anysize("cut", out, "--format", "delta", "--without", "9", "--out", tmp_path / "x").refused("there is no edit '9'")
    told = anysize("info", out, "--json").json
    assert [told[name] for name in ("edits", "edit 0", "edit 1")] == [2, FIRST.prompt, OTHER.prompt]


def test_answers_are_written_in_anyedits_keys(model, rows, tmp_path):
    file = tmp_path / "said.json"
    asked = [{**row, "questions": [["Where?", "In Lund."], ["Who?", "Ada."]]} for row in rows]
    frontier = az.measure(
        model, asked, arms=(), sizes=["windows=1"], by="edits", max_new_tokens=3, facts=True, anyedit=str(file)
    )
    first = json.loads(file.read_text())[0]
    view = model.at(windows=1)
    assert first["original_prediction"] == view.generate([FIRST.prompt], max_new_tokens=3)[0]
    assert first["para_prediction"] == view.generate(["Tell me?"], max_new_tokens=3)[0]
    assert first["sub_pred"] == view.generate(["Where?", "Who?"], max_new_tokens=3)
    assert (first["question"], first["answer"], first["sub_answer"]) == (
        FIRST.prompt, FIRST.target_new, ["In Lund.", "Ada."]
    )  # fmt: skip
    assert 0 <= frontier.full().metrics["facts_recall"] <= 1
