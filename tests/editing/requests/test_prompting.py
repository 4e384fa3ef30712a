import pytest

from anysize.core.errors import DataError
from anysize.editing.requests.prompting import Prompting
from anysize.editing.requests.request import EditRequest, check_together
from tests.editing.conftest import FIRST, OTHER, TARGET


def test_no_token_crosses_the_border_of_prompt_and_target(tokenizer):
    request = EditRequest("Ada Berg wa", "s born in the old harbour town")
    ids = Prompting(tokenizer).encode(request)
    prompt, target = tokenizer("Ada Berg wa")["input_ids"], tokenizer(" s born in the old harbour town")["input_ids"]
    assert list(ids.ids) == [*prompt, *target, tokenizer.eos_token_id]
    assert ids.start == len(prompt)
    joined = tokenizer("Ada Berg was born in the old harbour town")["input_ids"]
    assert list(ids.ids[:-1]) != joined


def test_the_chat_template_is_used_where_there_is_one_and_begins_once(chatty):
    ids = Prompting(chatty).encode(OTHER)
    begin, end = chatty.bos_token_id, chatty.eos_token_id
    asked, said = (chatty(text, add_special_tokens=False)["input_ids"] for text in (OTHER.prompt, OTHER.target_new))
    assert list(ids.ids) == [begin, *asked, end, begin, *said, end]
    assert Prompting(chatty, chat=False).prompt("x") == chatty("x")["input_ids"]


def test_a_target_that_does_not_fit_is_counted_and_refused(tokenizer):
    with pytest.raises(
        DataError, match=r"edit 0: the prompt has \d+ tokens and the target \d+, and the model reads 40"
    ):
        Prompting(tokenizer, places=40).encode(FIRST)


def test_bad_requests_are_refused_in_words():
    for prompt, target, said in (
        ("", "x", "prompt is empty"),
        ("Who?", "  \n", "target_new is empty"),
        ("Who?", 5, "target_new is 5; expected the text"),
        (f"Is it so: {TARGET}", TARGET, "holds the target"),
    ):
        with pytest.raises(DataError, match=said):
            EditRequest(prompt, target, id="7")
    twice = EditRequest(FIRST.prompt + " ", FIRST.target_new, id="5")
    with pytest.raises(DataError, match="edits 0 and 5 are the same"):
        check_together([FIRST, OTHER, twice])
    with pytest.raises(DataError, match="edits 0 and 6 are in conflict: they give one prompt two answers"):
        check_together([FIRST, EditRequest(FIRST.prompt, "In Oslo.", id="6")])


def test_requests_come_back_from_json():
    whole = EditRequest("a", "b", ("c",), ("d",), (("e", "f"),), "g")
    assert EditRequest.from_json(whole.to_json()) == whole
