"""A tower and a language model become one LLaVA whose parts are theirs."""

import pytest
import torch

from anysize.backbones.vision.join import joined
from anysize.backbones.vision.opening import open_vlm
from anysize.core.errors import AnysizeError
from tests.tiny_vlm import WORDS, drawn, tiny_processor, tiny_tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from transformers import (
        Dinov2Config,
        Dinov2Model,
        LlamaConfig,
        LlamaForCausalLM,
        SiglipVisionConfig,
        SiglipVisionModel,
    )

    home = tmp_path_factory.mktemp("joined")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 24, "patch_size": 6}
    Dinov2Model(Dinov2Config(**small)).save_pretrained(home / "dino")
    SiglipVisionModel(SiglipVisionConfig(**small, intermediate_size=32)).save_pretrained(home / "siglip")
    for name in ("dino", "siglip"):
        tiny_processor().image_processor.save_pretrained(home / name)
    words = [word for word in WORDS if word != "<image>"]
    text = LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=len(words),
        tie_word_embeddings=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(text).save_pretrained(home / "lm")
    tiny_tokenizer(words).save_pretrained(home / "lm")
    return home


@pytest.mark.parametrize("tower", ["dino", "siglip"])
def test_the_parts_are_the_models_that_were_joined(folders, tower, tmp_path):
    from transformers import AutoModel, AutoModelForCausalLM

    vlm = joined(folders / tower, folders / "lm")
    assert vlm.shape == (4, 4)
    pixels = vlm.pixels(drawn(2))
    with torch.no_grad():
        seen = AutoModel.from_pretrained(folders / tower)(pixels, output_hidden_states=True).hidden_states[-1]
        expected = vlm.projector(seen[:, -16:])
        torch.testing.assert_close(vlm.encode(pixels), expected)
        batch = vlm.batch([vlm.prompt("how many", pictures=0)], [[]])
        alone = AutoModelForCausalLM.from_pretrained(folders / "lm")(input_ids=batch.ids).logits
        torch.testing.assert_close(vlm.logits(batch, [])[..., : alone.shape[-1]], alone)
        both = vlm.batch([vlm.prompt("how many")], [[16]])
        assert int((both.ids == vlm.placeholder).sum()) == 16
        vlm.model.save_pretrained(tmp_path / "vlm")
        vlm.processor.save_pretrained(tmp_path / "vlm")
        again = open_vlm(tmp_path / "vlm")
        tokens = vlm.encode(pixels)[:1]
        torch.testing.assert_close(again.logits(both, list(tokens)), vlm.logits(both, list(tokens)))
        inputs = again.processor(images=drawn(1), text="<image> how many", return_tensors="pt")
        assert int((inputs["input_ids"] == again.placeholder).sum()) == 16


def test_what_cannot_be_opened_is_named(folders):
    with pytest.raises(AnysizeError, match="cannot load the vision tower 'nowhere'"):
        joined("nowhere", folders / "lm")
    with pytest.raises(AnysizeError, match="cannot load the language model"):
        joined(folders / "dino", "nowhere")


def test_the_layer_of_the_tower_that_is_named_is_read(folders):
    pixels = torch.randn(1, 3, 24, 24)
    vlm = joined(folders / "dino", folders / "lm", layer=-2)
    with torch.no_grad():
        seen = vlm.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        torch.testing.assert_close(vlm.encode(pixels), vlm.projector(seen[1][:, 1:]))  # after the first of two blocks
    for layer in (-4, 3):
        with pytest.raises(AnysizeError, match="of a tower of 2 blocks; expected -3 to 2"):
            joined(folders / "dino", folders / "lm", layer=layer)
