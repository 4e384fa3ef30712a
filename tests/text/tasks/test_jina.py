"""The published layout, made here at random, against a plain forward pass written from the paper's description."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

import anysize as az
from anysize.core.errors import CheckpointError
from anysize.text import from_published_jina
from anysize.text.tasks.jina import TARGETS, is_published_jina, read_published
from tests.conftest import WORDS

D, LAYERS, HEADS, FFN, R = 16, 2, 2, 24, 3
TASKS = ["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching"]
VOCABULARY = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
SHAPES = {
    "embeddings.word_embeddings": (len(VOCABULARY), D),
    "embeddings.token_type_embeddings": (1, D),
    **{
        f"encoder.layers.{layer}.{name}": shape
        for layer in range(LAYERS)
        for name, shape in {
            "mixer.Wqkv": (3 * D, D),
            "mixer.out_proj": (D, D),
            "mlp.fc1": (FFN, D),
            "mlp.fc2": (D, FFN),
        }.items()
    },
    "pooler.dense": (D, D),
}
NORMS = ["emb_ln", *(f"encoder.layers.{layer}.norm{n}" for layer in range(LAYERS) for n in (1, 2))]


def published(folder, theta=20_000.0):
    """Write a random model as the published folder has it; returns its tensors."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    weights = {}

    def draw(*shape):
        return 0.5 * torch.randn(*shape, generator=generator)

    for name, (rows, columns) in SHAPES.items():
        stem = f"roberta.{name}.parametrizations.weight"
        weights[f"{stem}.original"] = draw(rows, columns)
        embedding = "embeddings" in name
        weights[f"{stem}.0.lora_A"] = draw(len(TASKS), *((rows, R) if embedding else (R, columns)))
        weights[f"{stem}.0.lora_B"] = draw(len(TASKS), *((R, columns) if embedding else (rows, R)))
        if not embedding:
            weights[f"roberta.{name}.bias"] = draw(rows)
    for name in NORMS:
        weights[f"roberta.{name}.weight"], weights[f"roberta.{name}.bias"] = 1 + draw(D), draw(D)
    save_file(weights, folder / "model.safetensors")
    config = {
        "architectures": ["XLMRobertaModel"],
        "auto_map": {"AutoModel": "jinaai/xlm-roberta-flash-implementation--modeling_lora.XLMRobertaLoRA"},
        "model_type": "xlm-roberta",
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_size": D,
        "intermediate_size": FFN,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 66,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "vocab_size": len(VOCABULARY),
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "position_embedding_type": "rotary",
        "rotary_emb_base": theta,
        "lora_adaptations": TASKS,
        "lora_alpha": 1,
        "lora_dropout_p": 0.0,
        "lora_rank": R,
        "matryoshka_dimensions": [4, 8, 16],
        "task_instructions": {
            **dict.fromkeys(TASKS, ""),
            "retrieval.query": "balan demer ",
            "retrieval.passage": "finis gopor ",
        },
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=64, **marks).save_pretrained(str(folder))
    return weights


def plain(weights, ids, task=None, theta=20_000.0):
    """Token states of one text: post-norm blocks, fused attention, rotary positions in halves, W + s B A throughout."""

    def weight(name):
        stem = f"roberta.{name}.parametrizations.weight"
        value = weights[f"{stem}.original"]
        if task is None:
            return value
        a, b = (weights[f"{stem}.0.lora_{letter}"][TASKS.index(task)] for letter in "AB")
        return value + (a @ b if "embeddings" in name else b @ a) / R

    def linear(name, x):
        return x @ weight(name).T + weights[f"roberta.{name}.bias"]

    def norm(name, x):
        return functional.layer_norm(x, (D,), weights[f"roberta.{name}.weight"], weights[f"roberta.{name}.bias"], 1e-5)

    head = D // HEADS
    angles = torch.arange(len(ids))[:, None] / theta ** (torch.arange(0, head, 2) / head)

    def rotated(x):  # (tokens, heads, head)
        left, right = x.chunk(2, dim=-1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)

    x = norm("emb_ln", weight("embeddings.word_embeddings")[ids] + weight("embeddings.token_type_embeddings")[0])
    for layer in range(LAYERS):
        stem = f"encoder.layers.{layer}"
        q, k, v = linear(f"{stem}.mixer.Wqkv", x).reshape(len(ids), 3, HEADS, head).unbind(1)
        scores = torch.einsum("ihd,jhd->hij", rotated(q), rotated(k)) / math.sqrt(head)
        mixed = torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).reshape(len(ids), D)
        x = norm(f"{stem}.norm1", x + linear(f"{stem}.mixer.out_proj", mixed))
        x = norm(f"{stem}.norm2", x + linear(f"{stem}.mlp.fc2", functional.gelu(linear(f"{stem}.mlp.fc1", x))))
    return x


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("jina") / "published"
    published(place)
    return place


IDS = torch.tensor([0, *range(4, 40), 2])


@torch.no_grad()
def test_the_base_computes_what_the_published_one_does(folder):
    found = read_published(folder)
    weights = load_file(folder / "model.safetensors")
    torch.testing.assert_close(
        found.transformer(IDS[None]).last_hidden_state[0], plain(weights, IDS), atol=1e-5, rtol=0
    )
    assert not torch.allclose(plain(weights, IDS), plain(weights, IDS, theta=10_000.0), atol=1e-3)
    assert found.dims == (4, 8, 16)
    assert found.prompts["retrieval.query"] == "balan demer "
    assert found.tokenizer("balan demer")["input_ids"] == [0, 4, 25, 2]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@torch.no_grad()
def test_peft_runs_every_adapter_as_the_published_one_does(folder):
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    found = read_published(folder)
    weights = load_file(folder / "model.safetensors")
    for task in TASKS:
        settings = LoraConfig(r=found.r, lora_alpha=found.lora_alpha, target_modules=list(TARGETS))
        model = get_peft_model(read_published(folder).transformer, settings).eval()
        state = {f"base_model.model.{name}": value for name, value in found.adapters[task].items()}
        missing = set_peft_model_state_dict(model, state)
        assert not missing.unexpected_keys
        assert not [name for name in missing.missing_keys if "lora" in name]
        expected = plain(weights, IDS, task)
        torch.testing.assert_close(model(IDS[None]).last_hidden_state[0], expected, atol=1e-5, rtol=0)
        assert not torch.allclose(expected, plain(weights, IDS), atol=1e-3)


@torch.no_grad()
def test_the_published_model_becomes_an_encoder_with_its_adapters_instructions_and_sizes(folder, tmp_path):
    model = from_published_jina(folder)
    weights = load_file(folder / "model.safetensors")
    assert model.nesting.values("dims") == (4, 8, 16)
    assert model.encoder.settings["max_length"] == 64
    texts = ["balan demer", "finis gopor balan"]
    for task in TASKS:
        ids = [model.encoder.tokenizer(model.prompt_of(task) + text)["input_ids"] for text in texts]
        expected = torch.stack([plain(weights, torch.tensor(one), task).mean(dim=0) for one in ids])
        cut = functional.normalize(expected[:, :8], dim=-1)
        np.testing.assert_allclose(model.encode(texts, task=task, truncate_dim=8), cut, atol=1e-5)
    model.save(tmp_path / "saved")
    loaded = az.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.encode(texts, task=TASKS[:2]), model.encode(texts, task=TASKS[:2]))


def test_other_layouts_and_damaged_ones_are_refused(folder, tmp_path, encoder_path):
    assert is_published_jina(folder)
    assert not is_published_jina(encoder_path)
    with pytest.raises(CheckpointError, match="not in the published layout"):
        read_published(encoder_path)
    broken = tmp_path / "broken"
    weights = published(broken)
    stem = "roberta.encoder.layers.1.mlp.fc1"
    for change, message in (
        ({f"{stem}.bias": None}, r"layers\.1\.mlp\.fc1\.bias is missing"),
        (
            {f"{stem}.parametrizations.weight.0.lora_A": None},
            "retrieval.query has layers.1.mlp.fc1.lora_A.weight missing",
        ),
        ({f"{stem}.bias": torch.zeros(3)}, r"is \(3,\); config.json asks for \(24,\)"),
        ({"roberta.encoder.layers.1.extra": torch.zeros(3)}, "roberta.encoder.layers.1.extra is none of"),
        ({f"{stem}.parametrizations.weight.0.lora_A": torch.zeros(4, R, D)}, "holds 4 adapters; config.json names 5"),
    ):
        changed = {name: tensor for name, tensor in {**weights, **change}.items() if tensor is not None}
        save_file(changed, broken / "model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            read_published(broken)
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_published(broken)
