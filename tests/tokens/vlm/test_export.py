"""What is written loads in transformers alone, and answers as the view does; what it cannot hold is refused."""

import pytest
import torch

from anysize.backbones.vision.join import joined
from anysize.backbones.vision.llava import VisionLanguage
from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.model import NestedVLM
from tests.backbones.vision.test_join import folders  # noqa: F401
from tests.tiny_vlm import drawn, tiny_llava
from tests.tokens.vlm.test_model import POOL, pooled, queried


@pytest.mark.parametrize("layer", [-1, -2])
def test_transformers_alone_answers_as_the_view(tmp_path, layer):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    net, processor = tiny_llava()
    net.config.vision_feature_layer = layer
    model = NestedVLM(Nesting(tokens=(1, 4, 16)), VisionLanguage(net, processor), POOL).eval()
    for tokens in (1, 4, 16):
        done = model.at(tokens=tokens).export(tmp_path / str(tokens))
        assert done.checks[0].difference < 1e-5
        alone = AutoModelForImageTextToText.from_pretrained(tmp_path / str(tokens))
        prepare = AutoProcessor.from_pretrained(tmp_path / str(tokens))
        inputs = prepare(images=drawn(1), text="<image>\nhow many red\n", return_tensors="pt")
        assert int((inputs["input_ids"] == 4).sum()) == tokens
        if tokens < 16:
            inputs["pixel_values"] = inputs["pixel_values"][:, None]
        with torch.no_grad():
            given = alone(**inputs).logits[:, -1]
            expected = model.at(tokens=tokens)([Asked(drawn(1)[0], "how many red")])
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-4)


def test_what_transformers_cannot_hold_is_refused_and_leaves_nothing(tmp_path, folders):  # noqa: F811
    with pytest.raises(AnysizeError, match="no model with queries in place of a projector"):
        queried().export(tmp_path / "out")
    skipping = NestedVLM(Nesting(tokens=(1, 4)), pooled().vlm, {"kind": "pool", "mode": "spatial"})
    with pytest.raises(AnysizeError, match="by the mean alone, and this model by spatial"):
        skipping.at(tokens=4).export(tmp_path / "out")
    last = joined(folders / "siglip", folders / "lm")  # whose last states are normalised once more
    with torch.no_grad():
        last.model.model.vision_tower.post_layernorm.weight.uniform_(1, 3)
    with pytest.raises(AnysizeError, match=r"logits: transformers .* away from the model"):
        NestedVLM(Nesting(tokens=(1, 4, 16)), last, POOL).at(tokens=4).export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
