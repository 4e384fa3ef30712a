import json
import re

import numpy as np
import pytest
import torch

import anysize as az
from anysize.backbones.sentence import Encoder
from anysize.core.errors import AnysizeError, CheckpointError, DataError, SizeError
from anysize.core.model.checkpoint import WEIGHTS
from anysize.core.model.manifest import MANIFEST
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.testing import check_nested_model
from anysize.text import NestedEncoder
from tests.conftest import WIDTH, sentences, undigested

TEXTS = [*sentences(7), "", "ba" * 4000]


@pytest.fixture
def model(encoder_path):
    return NestedEncoder.from_pretrained(encoder_path, layers=(1, 2), dims=(8, 16, WIDTH))


def test_keeps_every_promise_of_a_nested_model(model, encoder_path):
    plain = Encoder(str(encoder_path)).model

    def whole(texts):
        return torch.nn.functional.normalize(torch.from_numpy(plain.encode(list(texts))), dim=-1)

    check_nested_model(model, TEXTS[:5], plain=whole, shape=lambda size: (5, size.dims))


def test_a_menu_keeps_them_too(encoder_path):
    menu = Nesting.pairs([Size(layers=1, dims=8), Size(layers=2, dims=16)], names=["small", "tall"])
    model = NestedEncoder.from_pretrained(encoder_path, sizes=menu)
    check_nested_model(model, TEXTS[:4])
    assert model.at("small").encode(TEXTS[:2]).shape == (2, 8)


def test_fewer_layers_really_run_fewer_layers(model):
    ran = []
    for place, block in enumerate(model.encoder.stack.blocks(model.encoder.transformer)):
        block.register_forward_hook(lambda *_, place=place: ran.append(place))
    model.at(layers=1, dims=8).encode(TEXTS[:3])
    assert set(ran) == {0}
    ran.clear()
    model.encode(TEXTS[:3], sizes=model.nesting)
    assert ran == [0, 1]


def test_all_sizes_from_one_pass_are_those_of_each(model):
    together = model.encode(TEXTS, sizes=model.nesting)
    assert list(together) == list(model.nesting)
    for size, vectors in together.items():
        alone = model.at(size).encode(TEXTS)
        assert alone.shape == (len(TEXTS), size.dims)
        np.testing.assert_allclose(vectors, alone, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(model.at(size).project(model.features(TEXTS)), alone, atol=1e-5)


def test_the_full_size_is_the_model_it_was_made_from(model, encoder_path):
    plain = Encoder(str(encoder_path)).model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(model.encode(TEXTS), plain, atol=1e-5)


def test_a_cut_model_loads_without_anysize_and_gives_the_same_vectors(model, tmp_path):
    from sentence_transformers import SentenceTransformer

    for size in (Size(layers=1, dims=8), Size(layers=2, dims=16), model.nesting.full):
        model.at(size).convert().save(str(tmp_path / str(size)), create_model_card=False)
        small = SentenceTransformer(str(tmp_path / str(size)), device="cpu")
        assert small[0].auto_model.config.num_hidden_layers == size.layers
        assert len(small[0].auto_model.encoder.layer) == size.layers
        np.testing.assert_allclose(small.encode(TEXTS), model.at(size).encode(TEXTS), atol=1e-5)


def test_saves_what_it_is_and_loads_a_depth_alone(model, tmp_path):
    model.save(tmp_path / "saved")
    whole = az.load(tmp_path / "saved")
    assert isinstance(whole, NestedEncoder)
    small = az.load(tmp_path / "saved", layers=1, dims=16)
    assert len(small.encoder.stack.blocks(small.encoder.transformer)) == 1
    np.testing.assert_array_equal(whole.encode(TEXTS), model.encode(TEXTS))
    np.testing.assert_allclose(small.encode(TEXTS), model.at(layers=1, dims=16).encode(TEXTS), atol=1e-6)
    with pytest.raises(SizeError, match="carries its own sizes"):
        NestedEncoder.from_pretrained(tmp_path / "saved", layers=(1, 2))
    assert NestedEncoder.from_pretrained(tmp_path / "saved").nesting == model.nesting


def test_a_dense_layer_after_the_pooling_is_kept(encoder_path, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    base = Encoder(str(encoder_path)).model
    dense = Dense(WIDTH, 12, activation_function=torch.nn.Tanh())
    wide = SentenceTransformer(modules=[*base, dense, Normalize()], device="cpu")
    model = NestedEncoder.from_pretrained(wide, layers=(1, 2), dims=(4, 12))
    np.testing.assert_allclose(model.encode(TEXTS), wide.encode(TEXTS), atol=1e-5)
    check_nested_model(model, TEXTS[:3])
    cut = model.at("layers=1,dims=4").convert()
    np.testing.assert_allclose(cut.encode(TEXTS), model.at(layers=1, dims=4).encode(TEXTS), atol=1e-5)


def test_prompts_are_kept(encoder_path, tmp_path):
    base = Encoder(str(encoder_path)).model
    base.prompts, base.default_prompt_name = {"query": "bador: "}, "query"
    model = NestedEncoder.from_pretrained(base, layers=(1, 2))
    np.testing.assert_allclose(model.encode(TEXTS), base.encode(TEXTS, normalize_embeddings=True), atol=1e-5)
    model.save(tmp_path / "saved")
    np.testing.assert_allclose(az.load(tmp_path / "saved").encode(TEXTS), model.encode(TEXTS), atol=1e-6)
    cut = model.at(layers=1).convert()
    np.testing.assert_allclose(cut.encode(TEXTS), model.at(layers=1).encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({}, "give layers and dims"),
        ({"layers": (1, 3)}, "layers 1 to 2"),
        ({"dims": (8, 64)}, "dims=64 exceeds"),
        ({"layers": (2, 1)}, "1 comes after 2"),
        ({"sizes": Nesting(dims=(8,))}, "nested in layers and dims"),
        ({"sizes": Nesting(layers=(1,), dims=(8,)), "dims": (8,)}, "not both"),
    ],
)
def test_impossible_sizes_are_refused(encoder_path, declared, words):
    with pytest.raises(SizeError, match=words):
        NestedEncoder.from_pretrained(encoder_path, **declared)


def test_a_model_without_layers_is_refused():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    static = SentenceTransformer(
        modules=[StaticEmbedding(Tokenizer(WordLevel({"a": 0}, unk_token="a")), embedding_dim=4)]
    )
    with pytest.raises(AnysizeError, match="StaticEmbedding"):
        NestedEncoder.from_pretrained(static, dims=(2, 4))


def test_nothing_to_embed_and_what_is_no_list(model):
    assert model.encode([]).shape == (0, WIDTH)
    with pytest.raises(DataError, match="list of texts"):
        model.encode("one text")


def test_a_missing_tokenizer_is_said(model, tmp_path):
    import shutil

    model.save(tmp_path / "saved")
    shutil.rmtree(tmp_path / "saved" / "tokenizer")
    with pytest.raises(CheckpointError, match="tokenizer"):
        az.load(tmp_path / "saved")


@pytest.mark.parametrize("change", ["less", "more"])
def test_weights_with_a_tensor_too_few_or_too_many_are_refused(model, tmp_path, change):
    from safetensors.torch import load_file, save_file

    model.save(tmp_path / "saved")
    weights = load_file(undigested(tmp_path / "saved") / WEIGHTS)
    lost = next(name for name in weights if "layer.1.attention" in name)
    changed = {"less": {name: weight for name, weight in weights.items() if name != lost},
               "more": {**weights, "encoder.stranger[0:2]": torch.ones(2)}}[change]  # fmt: skip
    save_file(changed, tmp_path / "saved" / WEIGHTS)
    told = {"less": rf"cannot be read \(it lacks {re.escape(lost)}\)",
            "more": r"it holds encoder.stranger\[0:2\], of which the manifest knows nothing$"}[change]  # fmt: skip
    with pytest.raises(CheckpointError, match=told):
        az.load(tmp_path / "saved")


def test_a_description_of_another_depth_than_its_weights_is_refused(model, tmp_path):
    model.save(tmp_path / "saved")
    manifest = json.loads((undigested(tmp_path / "saved") / MANIFEST).read_text())
    manifest["config"]["transformer"]["intermediate_size"] = 48
    (tmp_path / "saved" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        az.load(tmp_path / "saved")


def test_a_kind_of_transformer_that_is_not_known_is_said(model, tmp_path):
    model.save(tmp_path / "saved")
    manifest = json.loads((undigested(tmp_path / "saved") / MANIFEST).read_text())
    manifest["config"]["transformer"]["model_type"] = "hal9000"
    (tmp_path / "saved" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"does not know the model .*hal9000"):
        az.load(tmp_path / "saved")


@pytest.mark.parametrize(
    ("size", "words"), [("layers=2,dims=12", "8, 16, 32"), ("layers=3,dims=8", "1, 2"), ("huge", "huge")]
)
def test_a_size_that_is_not_offered_is_refused(model, size, words):
    for ask in (model.at, model.extract, lambda size: model.encode(TEXTS[:1], sizes=[size])):
        with pytest.raises(SizeError, match=words):
            ask(size)


def test_texts_longer_than_the_model_are_counted_and_said_once(model, capsys):
    long = [" ".join(sentences(6, seed)) for seed in range(5)]
    read = model.encode([*long, long[0], "balan demer"], progress=True)
    said = "5 of 6 texts are longer than the 32 tokens that the model reads, and were cut there"
    assert said in capsys.readouterr().err
    np.testing.assert_array_equal(model.encode([*long, long[0], "balan demer"]), read)
    model.encode([*long, "balan demer"], progress=True)
    assert said not in capsys.readouterr().err
