import numpy as np
import pytest
import torch
from transformers import AutoModel, LlamaConfig, LlamaModel, ModernBertConfig, ModernBertModel

from anysize.backbones.rope import TRAINED
from anysize.core.errors import AnysizeError
from anysize.text import rope_base, set_rope_base

SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "initializer_range": 0.3,
}
IDS = torch.arange(1, 51)[None]


def llama(theta=10_000.0):
    torch.manual_seed(0)
    return LlamaModel(LlamaConfig(**SHAPE, rope_parameters={"rope_type": "default", "rope_theta": theta})).eval()


def modern(theta=160_000.0):
    torch.manual_seed(0)
    kinds = {"sliding_attention": 10_000.0, "full_attention": theta}
    parameters = {kind: {"rope_type": "default", "rope_theta": base} for kind, base in kinds.items()}
    marks = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    config = ModernBertConfig(**SHAPE, **marks, rope_parameters=parameters, global_attn_every_n_layers=2)
    return ModernBertModel(config).eval()


@torch.no_grad()
def states(model):
    return model(IDS).last_hidden_state.numpy()


@pytest.mark.parametrize("make", [llama, modern])
def test_a_changed_base_is_that_of_a_model_built_with_it(make):
    changed, built = make(), make(20_000.0)
    before = states(changed)
    set_rope_base(changed, 20_000.0)
    assert np.abs(states(changed) - before).max() > 1e-4
    np.testing.assert_allclose(states(changed), states(built), atol=1e-6)


def test_both_bases_are_saved_and_loading_uses_the_new_one(tmp_path):
    model = llama()
    set_rope_base(model, 20_000.0)
    set_rope_base(model, 40_000.0)
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert rope_base(loaded) == 40_000.0
    assert getattr(loaded.config, TRAINED) == 10_000.0
    np.testing.assert_allclose(states(loaded), states(model), atol=1e-6)


def test_layers_that_see_a_window_keep_their_base():
    model = modern()
    set_rope_base(model, 320_000.0)
    assert rope_base(model) == {"sliding_attention": 10_000.0, "full_attention": 320_000.0}


def test_a_model_without_rotary_positions_is_refused(encoder_path):
    model = AutoModel.from_pretrained(encoder_path)
    with pytest.raises(AnysizeError, match="'bert' has no rotary positions"):
        set_rope_base(model, 20_000.0)
    with pytest.raises(AnysizeError, match="above 1; got 0"):
        set_rope_base(llama(), 0)
