"""`anysize fit --method smae`: text in, a checkpoint out that transformers, sentence-transformers and `fit` take."""

from __future__ import annotations

import json
import logging
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file

from anysize.core.data.plain_text import read_texts
from anysize.core.errors import CheckpointError
from anysize.core.training import trainer as training
from anysize.core.verbs.fit import fit
from anysize.text.pretrain.made import Pretrained
from anysize.text.pretrain.methods import MLM, SMAE
from tests.conftest import WORDS, sentences, tree, write_pairs
from tests.core.verbs.test_fit import at_step
from tests.processes import die, killed


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text("\n".join(sentences(64)), "utf-8")
    return tmp_path


@pytest.fixture(scope="session")
def config_only(tmp_path_factory):
    """A folder with a configuration and a tokenizer, and no weights."""
    from transformers import BertConfig, BertTokenizerFast

    folder = tmp_path_factory.mktemp("config")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(str(folder))
    BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=48,
    ).save_pretrained(str(folder))  # fmt: skip
    return folder


def options(model, **more):
    return {"model": str(model), "batch_size": 8, "learning_rate": 1e-3, "seed": 1, **more}


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_verb_makes_a_checkpoint_that_everyone_takes(anysize, config_only, here, caplog):
    said = anysize("fit", "t.txt", "--method", "smae", "--model", config_only, "--sizes", "1:8,3:32", "--epochs", "2",
                   "--batch-size", "8", "--out", "enc")  # fmt: skip
    assert said.status == 0, said.err
    assert "smae, learnt from 64 windows, 512 tokens" in said.out
    assert "layers=1,dims=8: mlm" in said.out
    assert "--model enc --sizes 1:8,3:32" in said.out

    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel
    from transformers.utils import logging as noise

    noise.enable_propagation()
    with caplog.at_level(logging.INFO):
        model, found = AutoModel.from_pretrained("enc", output_loading_info=True)
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), found
    assert not [line for line in caplog.messages if "enc" in line and ("MISSING" in line or "UNEXPECTED" in line)]
    encoder = SentenceTransformer("enc", device="cpu")
    assert encoder[1].pooling_mode == "cls"
    assert encoder.max_seq_length == 48
    state = model.eval()(**encoder.tokenizer(sentences(1), return_tensors="pt")).last_hidden_state[:, 0]
    torch.testing.assert_close(torch.from_numpy(encoder.encode(sentences(1))), state.detach())

    write_pairs(here / "p.jsonl", 24)
    said = anysize("fit", "p.jsonl", "--method", "starbucks", "--model", "enc", "--sizes", "1:8,3:32", "--batch-size",
                   "8", "--out", "m")  # fmt: skip
    assert said.status == 0, said.err
    assert anysize("info", "enc").status == 0
    again = anysize(
        "fit",
        "t.txt",
        "--method",
        "smae",
        "--model",
        "enc",
        "--sizes",
        "1:8,3:32",
        "--epochs",
        "1",
        "--out",
        "enc2",
        "--json",
    )
    assert again.json["about"]["from_scratch"] is False
    assert set(again.json["about"]["losses_by_size"]["layers=1,dims=8"]) == {"mlm", "mae", "mae_shuffled"}


def test_it_learns(config_only, here):
    """What is left of the loss after some passes over few texts, at the smallest size as at the largest."""
    few = "\n".join(sentences(4) * 16)
    (here / "few.txt").write_text(few)
    told = {}
    for epochs in (1, 20):
        method = SMAE(**options(config_only, sizes=("1:16", "3:32"), epochs=epochs, learning_rate=3e-3))
        told[epochs] = fit("few.txt", method=method).about["losses_by_size"]
    for size in ("layers=1,dims=16", "layers=3,dims=32"):
        for term in ("mlm", "mae"):
            assert told[20][size][term] < told[1][size][term] - 0.5, (size, term)


def test_the_rival_trains_the_full_size_alone(config_only, here):
    made = fit("t.txt", method="mlm", out="enc", **options(config_only, encoder_mask=0.15))
    assert made.about["sizes"]["sizes"] == [{"layers": 3, "dims": 32}]
    assert set(made.about["losses_by_size"]["layers=3,dims=32"]) == {"mlm"}
    assert Pretrained.load("enc").about == made.about


def test_blocks_that_no_size_needs_are_dropped_and_weights_are_kept_where_there_are_some(encoder_path, here):
    made = fit("t.txt", method=SMAE(**options(encoder_path, sizes=("1:8", "1:32"), learning_rate=1e-9)), out="enc")
    assert made.encoder.config.num_hidden_layers == 1
    assert made.about["from_scratch"] is False
    before, after = weights(encoder_path), weights(here / "enc")
    assert not [name for name in after if "layer.1" in name]
    for name, value in after.items():
        torch.testing.assert_close(value, before[name], atol=1e-5, rtol=0)


def test_a_killed_run_resumes_to_the_same_weights(anysize, config_only, here):
    words = [
        "fit",
        "t.txt",
        "--method",
        "smae",
        "--model",
        config_only,
        "--sizes",
        "1:8,2:16,3:32",
        "--epochs",
        "3",
        "--batch-size",
        "8",
    ]
    assert anysize(*words, "--out", "whole").status == 0

    def work():
        at_step(17, die)
        anysize(*words, "--out", "cut")

    killed(work)
    assert not (here / "cut").exists()
    anysize(*words, "--out", "cut").refused("add --resume")
    anysize(*words, "--seed", "2", "--out", "cut", "--resume").refused("different options seed")
    said = anysize(*words, "--out", "cut", "--resume")
    assert said.status == 0, said.err
    assert same(weights(here / "cut"), weights(here / "whole"))
    assert not (here / "cut.partial").exists()
    assert anysize(*words, "--out", "cut", "--resume").status == 0
    other = anysize(*words, "--seed", "2", "--out", "other")
    assert other.status == 0
    assert not same(weights(here / "other"), weights(here / "whole"))


def test_an_interrupt_leaves_what_stood_there(config_only, here, monkeypatch):
    fit("t.txt", method=MLM(**options(config_only)), out="enc")
    before = tree(here / "enc")
    at_step(3, lambda: signal.raise_signal(signal.SIGINT), monkeypatch.setattr)
    with pytest.raises(KeyboardInterrupt):
        fit("t.txt", method=MLM(**options(config_only, epochs=2)), out="enc")
    assert tree(here / "enc") == before


def test_what_is_not_ours_is_not_replaced(config_only, here):
    (here / "enc").mkdir()
    (here / "enc" / "thesis.tex").write_text("x")
    with pytest.raises(CheckpointError, match="not ours"):
        fit("t.txt", method=MLM(**options(config_only)), out="enc")


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        (b"", [], ["holds no text"]),
        (b"\n \n", [], ["holds no text"]),
        (b"ba lan\n", [], ["none of the 1 texts"]),
        (b"balan\n\xff\xfe\n", [], ["bad.txt line 2", "0xff", "UTF-8"]),
        (None, [], ["does not exist"]),
        (b"balan demer finis gopor", ["--sizes", "1:8,4:32"], ["layers=4", "layers=3,dims=32"]),
        (b"balan demer finis gopor", ["--sizes", "1:8,3:64"], ["dims=64", "layers=3,dims=32"]),
        (b"balan demer finis gopor", ["--max-length", "99"], ["99", "48 tokens"]),
        (b"balan demer finis gopor", ["--encoder-mask", "0.5"], ["0.5 and 0.4"]),
        (b"balan demer finis gopor", ["--model", "./nowhere"], ["cannot load the masked-language model './nowhere'"]),
        (b"balan demer finis gopor", ["--method", "nope"], ["no method is called 'nope'"]),
        (b"balan demer finis gopor", ["--epochs", "0"], ["epochs must be above zero"]),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(anysize, config_only, here, text, words, told):
    if text is not None:
        (here / "bad.txt").write_bytes(text)
    model = [] if "--model" in words else ["--model", config_only]
    method = [] if "--method" in words else ["--method", "smae"]
    anysize("fit", "./bad.txt", *method, *model, *words, "--out", "enc").refused(*told)
    assert not (here / "enc").exists()
    assert not (here / "enc.partial").exists()


def test_a_model_must_be_named_and_be_one(anysize, here):
    anysize("fit", "t.txt", "--method", "smae", "--out", "enc").refused("--model")
    (here / "empty").mkdir()
    anysize("fit", "t.txt", "--method", "smae", "--model", "empty", "--out", "enc").refused("empty is not a model")


def test_a_loss_that_is_not_finite_stops_it_and_keeps_the_last_checkpoint(anysize, config_only, here, monkeypatch):
    shutil.copytree(config_only, here / "base")
    from transformers import TrainerCallback

    class Spoil(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **_):
            if state.global_step == 5:
                with torch.no_grad():
                    model.head.dense.weight.fill_(float("nan"))

    plain = training.use_plain_bar
    monkeypatch.setattr(training, "use_plain_bar", lambda trainer: (plain(trainer), trainer.add_callback(Spoil())))
    words = ["fit", "t.txt", "--method", "smae", "--model", "base", "--batch-size", "8", "--out", "enc"]
    anysize(*words).refused("the loss is nan at step 6 of 8", "step 5 is kept")
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert anysize(*words, "--resume").status == 0


def test_texts_are_paragraphs_or_lines_or_rows(here):
    (here / "d").mkdir()
    (here / "d" / "b.txt").write_text("one\ntwo\n\nthree\n\n\n", "utf-8")
    (here / "d" / "a.TXT").write_text("four  five\nsix\n\n", "utf-8")
    assert read_texts("d").texts == ["four five", "six", "one two", "three"]
    assert read_texts("d/b.txt").texts == ["one two", "three"]
    (here / "r.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in ("x y", "z")))
    assert read_texts("r.jsonl").texts == ["x y", "z"]
    (here / "e").mkdir()
    (here / "e" / "a.txt").write_text("four five\nsix\n")
    (here / "e" / "b.txt").write_text("one two\n\nthree")
    assert read_texts("e").fingerprint == read_texts("d").fingerprint != read_texts("d/b.txt").fingerprint
