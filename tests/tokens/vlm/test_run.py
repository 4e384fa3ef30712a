"""``anysize run``: a picture and a question, a table of them, and what a model that reads both is not given."""

import json
import shlex

import numpy as np
import pytest
import torch

import anysize as az
from anysize.cli.main import run
from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.reported import took_in_words
from anysize.core.verbs.inputs import inputs_of, together
from anysize.tokens.chooser import Chooser
from tests.tiny_vlm import write_questions
from tests.tokens.vlm.test_model import pooled


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_questions(folder)
    pooled().save(folder / "eye")
    return folder


def said(place, words, capsys):
    status = run(shlex.split(words.replace("AT", str(place))))
    out = capsys.readouterr()
    return status, out.out, out.err


def test_a_picture_and_a_question(place, capsys):
    for tokens, kept, some in ((1, "128", "1 token"), (16, "2,048", "16 tokens")):
        words = f"run AT/eye AT/pictures/3.png 'what is there' --size tokens={tokens} --max-new-tokens 3 --json"
        status, out, err = said(place, words, capsys)
        assert status == 0
        expected = (
            pooled()
            .at(tokens=tokens)
            .generate([[{"image": place / "pictures" / "3.png"}, {"text": "what is there"}]], max_new_tokens=3)
        )
        told = json.loads(out)
        assert told["output"] == expected[0]
        assert (told["tokens"], told["cache_bytes"]) == (tokens, int(kept.replace(",", "")))
        assert told["ms_to_first_token"] > 0
        assert err.startswith(f"{some}, {kept} cache bytes, ")
        assert " ms to first token; ran in " in err


def test_a_table_of_pictures_and_questions(place, tmp_path, capsys):
    status, *_ = said(place, f"run AT/eye AT/vqa.jsonl --max-new-tokens 2 --out {tmp_path}/said.jsonl", capsys)
    assert status == 0
    lines = (tmp_path / "said.jsonl").read_text().splitlines()
    assert len(lines) == 40
    first = pooled().generate(inputs_of(place / "vqa.jsonl").items.rows[:1], max_new_tokens=2)
    assert json.loads(lines[0])["output"] == first[0]


def test_an_answer_without_words_is_said(place, tmp_path, capsys):
    model = pooled()
    with torch.no_grad():
        model.net.lm_head.weight.zero_()  # all words are equally likely, so the first is taken: the filler
    model.save(tmp_path / "mute")
    words = f"run {tmp_path}/mute AT/pictures/3.png 'what is there' --max-new-tokens 2"
    assert said(place, words, capsys)[1] == "(nothing: the model ended its text at once)\n"
    assert json.loads(said(place, f"{words} --json", capsys)[1])["output"] == ""
    refused = said(place, words.replace("tokens 2", "tokens 0"), capsys)[2]
    assert refused.endswith("max-new-tokens must be above zero; got 0\n")


def test_what_each_item_took_is_kept_apart(place):
    rows = inputs_of(place / "vqa.jsonl").items
    model = pooled()
    read = model.read(rows.rows)
    model.chooser = Chooser((1, 4, 16), (20.0, 0.0, 0.0), (-20.0 * float(np.median(model.margins(read))), -5.0, 0.0))
    ran = az.run(model, rows, size="auto", max_new_tokens=2, batch_size=16)
    assert [one["tokens"] for one in ran.took] == model.chooser.pick(model.margins(read))
    assert [one["cache_bytes"] for one in ran.took] == [128 * one["tokens"] for one in ran.took]
    first = [one["ms_to_first_token"] for one in ran.took]
    assert len(set(first)) == 3  # batches of 16, 16 and 8
    assert took_in_words([{"tokens": 16, "ms": 2.5}]) == "16 tokens, 2.5 ms"
    assert took_in_words([{"tokens": 1}, {"tokens": 2, "ms": 1234.5}]) == "1.5 tokens, 1,234 ms on average"
    assert took_in_words([{"untrained_rates": 1, "seconds_of_speech": 1.0, "ms_to_first_token": 1}]) == (
        "1 untrained rate, 1 second of speech, 1 ms to first token"
    )
    assert took_in_words([{"frames_an_audio_token": 1}]) == "1 frame an audio token"
    assert took_in_words([{}]) == ""


def test_what_lacks_a_part_is_refused(place, capsys):
    for words, told in (
        ("run AT/eye AT/pictures/3.png", "reads several parts (a picture and a question)"),
        ("run AT/eye 'what is there'", "what was given holds text"),
        ("run AT/eye nowhere.png 'what is there'", "nowhere.png does not exist"),
        ("run AT/eye AT/vqa.jsonl 'what is there'", "cannot stand beside a text"),
        ("run AT/eye AT/pictures/3.png AT/pictures/4.png", "got 2 pictures and no question"),
        ("run AT/eye AT/pictures/3.png 'what' --size tokens=5", "5 lies between 4 and 16"),
    ):
        status, out, err = said(place, words, capsys)
        assert (status, out) == (2, ""), words
        assert told in err


def test_parts_are_told_by_what_is_there(place):
    picture = str(place / "pictures" / "0.png")
    assert together([picture, "what"]).items.rows == [[{"image": picture}, {"text": "what"}]]
    assert together(["what is a.png", picture]).items.rows == [[{"text": "what is a.png"}, {"image": picture}]]
    with pytest.raises((AnysizeError, DataError), match="is empty"):
        together([picture, " "])


def test_auto_chooses_for_each_question(place, tmp_path, capsys):
    status, _, err = said(place, "run AT/eye AT/pictures/3.png what --size auto", capsys)
    assert status == 2
    assert "has not learnt to choose a size (fit does, where it holds out 20 questions or more); name one, such" in err
    model = pooled()
    rows = inputs_of(place / "vqa.jsonl").items.rows
    read = model.read(rows)
    margins = model.margins(read)
    first = model.at(tokens=1).first_token(rows[3:4])
    top = first[0].log_softmax(-1).topk(2).values
    assert margins[3] == pytest.approx(float(top[0] - top[1]), abs=1e-4)
    edge = float(np.median(margins))
    model.chooser = Chooser((1, 4, 16), (20.0, 0.0, 0.0), (-20.0 * edge, -5.0, 0.0))  # of which sure ones take 1
    model.save(tmp_path / "eye")
    status, *_ = said(
        tmp_path, f"run AT/eye {place}/vqa.jsonl --size auto --max-new-tokens 2 --out AT/said.jsonl", capsys
    )
    assert status == 0
    picked = model.chooser.pick(margins)
    assert set(picked) == {1, 16}
    expected = model.answers(read, tokens=picked, max_new_tokens=2)
    assert [json.loads(line)["output"] for line in (tmp_path / "said.jsonl").read_text().splitlines()] == expected
    assert model.extract(tokens=4).choosing().chooser.tokens == (1, 4)
