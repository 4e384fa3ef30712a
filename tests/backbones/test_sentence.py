from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from anysize.backbones import sentence as module
from anysize.backbones.keeping.kept import FeatureStore
from anysize.backbones.sentence import Encoder
from anysize.core.errors import AnysizeError, CheckpointError
from tests.conftest import WIDTH, sentences, tree


def count_calls(encoder, monkeypatch) -> list[str]:
    """Every text that reaches the sentence-transformers model from now on."""
    reached: list[str] = []
    real = encoder.model.encode

    def spy(texts, **options):
        reached.extend(texts)
        return real(texts, **options)

    monkeypatch.setattr(encoder.model, "encode", spy)
    return reached


def test_it_embeds_as_sentence_transformers_does_in_the_order_given(encoder):
    texts = [*sentences(7), "balan", *sentences(3)]
    found = encoder.encode(texts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, encoder.model.encode(texts), atol=1e-5)
    assert encoder.dimension == WIDTH


def test_each_distinct_text_is_embedded_once(encoder, monkeypatch):
    reached = count_calls(encoder, monkeypatch)
    found = encoder.encode(["balan demer", "gofen", "balan demer"])
    assert sorted(reached) == ["balan demer", "gofen"]
    np.testing.assert_array_equal(found[0], found[2])


def test_what_the_store_knows_is_not_embedded_again(encoder, monkeypatch, tmp_path):
    encoder.store = FeatureStore(tmp_path)
    before = encoder.encode(["balan demer"])
    reached = count_calls(encoder, monkeypatch)
    encoder.store = FeatureStore(tmp_path)
    after = encoder.encode(["balan demer", "gofen"])
    assert reached == ["gofen"]
    np.testing.assert_array_equal(before[0], after[0])


def test_texts_of_as_many_tokens_are_embedded_together_however_long_they_look(encoder, monkeypatch):
    few, many = ["a-wordless-one", "c-wordless-one"], ["a b c d e f ga", "b b c d e f ga"]
    assert {len(text) for text in few + many} == {14}
    batches: list[list[int]] = []
    real = encoder.model.encode

    def spy(texts, **options):
        batches.append([len(row) for row in encoder.model.tokenizer(texts)["input_ids"]])
        return real(texts, **options)

    expected = encoder.model.encode([few[0], many[0], few[1], many[1]])
    monkeypatch.setattr(encoder.model, "encode", spy)
    found = encoder.encode([few[0], many[0], few[1], many[1]], batch_size=2)
    assert batches == [[9, 9], [7, 7]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_work_is_stored_shard_by_shard(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SHARD", 4)
    encoder.store = FeatureStore(tmp_path)
    encoder.encode(sentences(10))
    assert len(list(tmp_path.iterdir())) == 3


def test_texts_of_zero_and_of_100_000_characters(encoder, monkeypatch):
    long = "balan demer " * 8400
    reached = count_calls(encoder, monkeypatch)
    found = encoder.encode(["", long, "balan"])
    assert np.isfinite(found).all()
    assert max(map(len, reached)) <= 20 * 32
    # Only what the model reads counts: the cut must not change the vector.
    np.testing.assert_allclose(found[1], encoder.model.encode(long), atol=1e-5)
    np.testing.assert_allclose(found[0], encoder.model.encode(""), atol=1e-5)


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, WIDTH)


def test_bfloat16_agrees_to_the_digits_it_has(encoder):
    texts = sentences(6)
    exact, rough = encoder.encode(texts), encoder.encode(texts, bf16=True)
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()


def test_progress_goes_nowhere_unless_asked(encoder, capfd):
    encoder.model  # noqa: B018 (loading is tested below)
    capfd.readouterr()
    encoder.encode(sentences(5))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_name_that_is_nowhere_is_one_sentence(caplog):
    with pytest.raises(AnysizeError, match="cannot load the model 'no-such model/here'") as raised:
        Encoder("no-such model/here").encode(["a"])  # a name that no hub could have, of which the library also warns
    assert "\n" not in str(raised.value)
    assert not caplog.records


def test_a_folder_that_is_no_model_says_what_it_lacks(tmp_path):
    with pytest.raises(CheckpointError, match=r"modules\.json"):
        Encoder(tmp_path).encode(["a"])


def test_a_static_model_which_reads_any_length():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    static = StaticEmbedding(tokenizer, embedding_dim=4)
    a, b, both = Encoder(SentenceTransformer(modules=[static], device="cpu")).encode(["a", "b", "a b " * 5_000])
    np.testing.assert_allclose(both, (a + b) / 2, atol=1e-3)


def test_it_saves_as_an_ordinary_model(encoder, tmp_path, capfd):
    encoder.save(tmp_path / "e")
    np.testing.assert_allclose(Encoder(tmp_path / "e").encode(["gofen"]), encoder.encode(["gofen"]), atol=1e-6)
    assert Encoder(tmp_path / "e").fingerprint() == encoder.fingerprint()
    assert capfd.readouterr().out == ""


def other_config(folder: Path, name: str, **values) -> None:
    file = folder / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


DAMAGES = {
    "weights cut": lambda folder: (folder / "model.safetensors").write_bytes(b"\x08"),
    "a pooling of another kind": lambda folder: other_config(folder, "1_Pooling/config.json", pooling_mode=-1),
    "a module that is nowhere": lambda folder: (folder / "modules.json").write_text(
        (folder / "modules.json").read_text().replace("pooling.Pooling", "pooling.P")
    ),
    "a module missing": lambda folder: (folder / "modules.json").write_text(
        json.dumps(json.loads((folder / "modules.json").read_text())[:1])
    ),
    "an activation that is nowhere": lambda folder: other_config(folder, "config.json", hidden_act="gel"),
    "a list for settings": lambda folder: (folder / "config_sentence_transformers.json").write_text("[]"),
    "a method that is nowhere": lambda folder: other_config(
        folder,
        "sentence_bert_config.json",
        modality_config={"text": {"method": "forwar", "method_output_name": "last_hidden_state"}},
    ),
    "an output that is nowhere": lambda folder: other_config(
        folder, "sentence_bert_config.json", modality_config={"text": {"method": "forward", "method_output_name": "x"}}
    ),
    "a length that is no number": lambda folder: other_config(
        folder, "sentence_bert_config.json", processing_kwargs={"text": {"max_length": []}}
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_whatever_a_library_says_of_a_damaged_folder_is_one_sentence(encoder_path, tmp_path, name):
    folder = shutil.copytree(encoder_path, tmp_path / "e")
    DAMAGES[name](folder)
    with pytest.raises(CheckpointError, match="it may be damaged") as raised:
        Encoder(folder).encode(["balan demer"])
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)


def test_a_lack_of_memory_and_what_the_caller_s_own_object_raises_are_no_damage(encoder_path, monkeypatch):
    import torch

    for source, error in ((encoder_path, MemoryError()), (encoder_path, torch.OutOfMemoryError("no room")),
                          (None, KeyError("mine"))):  # fmt: skip
        encoder = Encoder(encoder_path) if source else Encoder(Encoder(encoder_path).model)

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(encoder.model, "encode", fail)
        with pytest.raises(type(error)):
            encoder.encode(["balan"])


def test_an_activation_that_would_silently_become_another_is_refused(encoder_path, tmp_path):
    from sentence_transformers.base.modules import Dense

    model = Encoder(encoder_path).model
    model.append(Dense(WIDTH, 8))
    model.save(str(tmp_path / "e"), create_model_card=False)
    Encoder(tmp_path / "e").encode(["balan"])
    other_config(tmp_path / "e", "2_Dense/config.json", activation_function="evil.Evil")
    with pytest.raises(CheckpointError, match=r"2_Dense.config\.json names the activation 'evil\.Evil'"):
        Encoder(tmp_path / "e").encode(["balan"])


def test_what_is_saved_does_not_depend_on_what_was_read_before(encoder_path, tmp_path):
    fresh, used = Encoder(encoder_path), Encoder(encoder_path)
    used.encode(["balan demer", *sentences(3)])
    used.model.tokenizer(["balan"], padding="max_length", max_length=9, truncation=True)
    fresh.save(tmp_path / "fresh")
    used.save(tmp_path / "used")
    assert tree(tmp_path / "fresh") == tree(tmp_path / "used")


def test_values_that_are_not_finite_are_no_vectors(encoder_path):
    import torch

    encoder = Encoder(encoder_path)
    with torch.no_grad():
        next(encoder.model.parameters()).fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        encoder.encode(["balan"])


def test_a_cut_model_does_not_depend_on_what_was_read_before(encoder_path, tmp_path):
    from anysize.text import NestedEncoder

    for name in ("fresh", "used"):
        model = NestedEncoder.from_pretrained(encoder_path, layers=(1, 2), dims=(8, WIDTH))
        if name == "used":
            model.encoder.tokenizer(["balan"], max_length=9, truncation=True)
        model.at(layers=2, dims=WIDTH).convert().save(str(tmp_path / name), create_model_card=False)
    assert tree(tmp_path / "fresh") == tree(tmp_path / "used")
