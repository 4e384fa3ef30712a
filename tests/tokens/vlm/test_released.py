"""Released MQT and M3 checkpoints, made here in their layout with small random weights."""

import json

import pytest
import torch
from safetensors.torch import save_file

from anysize.core.errors import CheckpointError
from anysize.tokens.budget.queries import sincos
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.released import open_released
from tests.tiny_vlm import WORDS, drawn, tiny_llava, tiny_processor, tiny_tokenizer

BACK = (
    ("model.vision_tower.", "model.vision_tower.vision_tower.vision_model."),
    ("model.multi_modal_projector.linear_1.", "model.mm_projector.0."),
    ("model.multi_modal_projector.linear_2.", "model.mm_projector.2."),
    ("model.language_model.", "model."),
)


def released(home, kind):
    """A folder as the forks write it, its tower's folder, and the model whose weights it holds."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    words = [word for word in WORDS if word != "<image>"]
    model, _ = tiny_llava(vocab_size=len(words))
    tower = CLIPVisionModel(CLIPVisionConfig(**model.config.vision_config.to_dict()))
    tower.load_state_dict(model.model.vision_tower.state_dict())
    tower.save_pretrained(home / "tower")
    tiny_processor().image_processor.save_pretrained(home / "tower")
    state = {}
    for name, value in model.state_dict().items():
        for ours, theirs in BACK:
            if name.startswith(ours):
                name = theirs + name.removeprefix(ours)
                break
        state[name] = value
    if kind == "mqt":
        state = {name: value for name, value in state.items() if "mm_projector" not in name and "tower" not in name}
        torch.manual_seed(1)
        inside = {"query": (16, 16), "proj": (16, 16), "attn.in_proj_weight": (48, 16), "attn.in_proj_bias": (48,),
                  "attn.out_proj.weight": (16, 16), "attn.out_proj.bias": (16,)}  # fmt: skip
        inside |= {f"{norm}.{part}": (16,) for norm in ("ln_q", "ln_k", "ln_v") for part in ("weight", "bias")}
        state |= {f"model.query_abstractor.{name}": torch.randn(shape) for name, shape in inside.items()}
        state["model.query_abstractor.pos_embed"] = sincos(16, 4).half()
    save_file(state, home / "fork.safetensors")
    config = {
        "model_type": "llava_llama", "mm_vision_select_layer": -1, "mm_hidden_size": 16, "vocab_size": len(words),
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
    }  # fmt: skip
    (home / "config.json").write_text(json.dumps(config))
    tiny_tokenizer(words).save_pretrained(home)
    return home, home / "tower", model, state


def test_m3_answers_as_the_model_whose_weights_it_has(tmp_path):
    folder, tower, theirs, _ = released(tmp_path, "m3")
    model = open_released(folder, tower)
    assert [size.tokens for size in model.nesting] == [1, 4, 16]
    pixels = model.vlm.pixels(drawn(1))
    with torch.no_grad():
        tokens = model.vlm.encode(pixels)
        expected = theirs.model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output[0]
        torch.testing.assert_close(tokens[0], expected)
        ids = torch.tensor([[0, 5, 6]])
        torch.testing.assert_close(model.net(input_ids=ids).logits[..., : len(WORDS) - 1], theirs(input_ids=ids).logits)
    assert len(model.generate([Asked(drawn(1)[0], "what is there")], max_new_tokens=3)) == 1


def test_mqt_looks_where_its_positions_say(tmp_path):
    folder, tower, theirs, state = released(tmp_path, "mqt")
    model = open_released(folder, tower)
    assert [size.tokens for size in model.nesting] == [2, 4, 8, 16]
    pixels = model.vlm.pixels(drawn(1))
    part = {name.removeprefix("model.query_abstractor."): value for name, value in state.items() if "query" in name}
    with torch.no_grad():
        seen = theirs.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
        attention = torch.nn.MultiheadAttention(16, 16)
        attention.load_state_dict({name[5:]: value for name, value in part.items() if name.startswith("attn.")})

        def norm(x, name):
            return torch.nn.functional.layer_norm(x, (16,), part[f"{name}.weight"], part[f"{name}.bias"], 1e-6)

        places = part["pos_embed"].float()
        query = norm(part["query"][:3] + places[:3], "ln_q")[:, None]
        found = attention(query, norm(places, "ln_k")[:, None], norm(seen, "ln_v").transpose(0, 1))[0][:, 0]
        torch.testing.assert_close(model.vlm.encode(pixels)[0, :3], found @ part["proj"], atol=1e-4, rtol=1e-4)


def test_a_weight_without_a_place_is_refused(tmp_path):
    folder, tower, _, state = released(tmp_path, "m3")
    save_file({**state, "model.surprise": torch.zeros(1)}, folder / "fork.safetensors")
    with pytest.raises(CheckpointError, match=r"model.surprise belongs to no part"):
        open_released(folder, tower)
    state.pop("model.norm.weight")
    save_file(state, folder / "fork.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks model.language_model.norm.weight"):
        open_released(folder, tower)
