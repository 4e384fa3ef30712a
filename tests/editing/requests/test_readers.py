import gzip
import json

import pytest

import anysize as az
from anysize.core.errors import DataError
from anysize.editing.requests.readers import read, requests_of

UNKE = {"id": 4, "question": "What does Ole do?", "para_question": "What is Ole's work?", "answer": "Ole keeps bees.",
        "sub_question": ["What?"], "sub_answer": ["Bees."]}  # fmt: skip
EVERYTHING = {"id": 0, "question": "Add 1 and 2.", "answer": "1 and 2 make 3.", "category": "math"}
AKEW = {"case_id": 1, "requested_rewrite": [{
    "prompt": "{} is a citizen of", "subject": "Ole", "question": "What is Ole a citizen of?",
    "target_new": {"str": "Croatia"}, "fact_new_uns": "Croatia is home to Ole, who keeps bees."}]}  # fmt: skip
FIRST_COUNTERFACT = {"case_id": 3, "requested_rewrite": {
    "prompt": "The mother tongue of {} is", "subject": "Ole", "target_new": {"str": "English"}},
    "paraphrase_prompts": ["Ole speaks"], "neighborhood_prompts": ["Per speaks"]}  # fmt: skip
COUNTERFACT = {"case_id": 5, "prompt": "The mother tongue of Ole is", "target_new": "English", "subject": "Ole",
               "rephrase_prompt": "Ole speaks", "locality_prompt": "Per speaks"}  # fmt: skip
ZSRE = {"subject": "Ole", "src": "When was Ole born?", "alt": "1900", "rephrase": "Ole was born when?",
        "loc": "nq question: who is per", "loc_ans": "a man"}  # fmt: skip
EASY = {"prompt": "Who?", "target_new": "Ole.", "rephrase_prompts": ["Who is it?"],
        "locality_inputs": {"neighborhood": {"prompt": ["Where?", "When?"], "ground_truth": ["a", "b"]}}}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (UNKE, ("4", "What does Ole do?", "Ole keeps bees.", ["What is Ole's work?"], [])),
        (EVERYTHING, ("0", "Add 1 and 2.", "1 and 2 make 3.", [], [])),
        (AKEW, ("1", "What is Ole a citizen of?", "Croatia is home to Ole, who keeps bees.", [], [])),
        (FIRST_COUNTERFACT, ("3", "The mother tongue of Ole is", "English", ["Ole speaks"], ["Per speaks"])),
        (COUNTERFACT, ("5", "The mother tongue of Ole is", "English", ["Ole speaks"], ["Per speaks"])),
        (ZSRE, ("1", "When was Ole born?", "1900", ["Ole was born when?"], ["who is per"])),
        (EASY, ("1", "Who?", "Ole.", ["Who is it?"], ["Where?", "When?"])),
    ],
    ids=["unke", "everything", "akew", "first-counterfact", "counterfact", "zsre", "easyedit"],
)
def test_published_sets_are_read_by_their_keys(tmp_path, row, wanted):
    (tmp_path / "a.json").write_text(json.dumps([row]))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((json.dumps(row) + "\n").encode()))
    for name in ("a.json", "a.jsonl.gz"):
        (one,) = requests_of(read(tmp_path / name))
        found = (one.id, one.prompt, one.target_new, list(one.rephrase_prompts), list(one.locality_inputs))
        assert found == wanted
    if row is UNKE:
        assert one.questions == (("What?", "Bees."),)


def test_edits_in_memory_are_edits_too():
    rows = [{"prompt": "Who?", "target_new": "Ole."}, {"prompt": "Where?", "target_new": "In Lund."}]
    assert [one.id for one in requests_of(read(rows))] == ["1", "2"]
    assert [one.target_new for one in requests_of(az.read(rows))] == ["Ole.", "In Lund."]


def test_what_holds_no_edits_is_refused(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("")
    with pytest.raises(DataError, match=r"a\.jsonl is empty; expected the columns prompt and target_new"):
        read(file)
    for row, said in (
        ({"text": "x"}, "line 1 has the columns text; expected the columns prompt and target_new"),
        ({"requested_rewrite": []}, "line 1 is not written as its columns say"),
        ({"requested_rewrite": {"prompt": "{}"}}, "line 1 is not written as its columns say"),
    ):
        file.write_text(json.dumps(row))
        with pytest.raises(DataError, match=said):
            read(file)
    for rows, said in (
        ([{"prompt": "a", "target_new": "b", "rephrase_prompts": 3}], "edit 1 is .* expected lists of texts"),
        ([{"prompt": "a", "target_new": "b", "id": 1}, {"prompt": "c", "target_new": "d", "id": 1}], "ids must differ"),
        ([{"prompt": 5, "target_new": "b"}], "prompt is 5; expected the text"),
        ([{"anchor": "a", "positive": "b"}], "expected the columns prompt and target_new"),
    ):
        with pytest.raises(DataError, match=said):
            requests_of(az.read(rows))
