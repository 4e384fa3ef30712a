"""AV-HuBERT's layout, with made-up weights, against the same sums written out."""

import math
from argparse import Namespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from anysize.backbones.speech.encoders import frame_encoder, lips_of
from anysize.backbones.speech.lips import LipEncoder, mouths
from anysize.core.errors import CheckpointError

WIDTH, INNER, LAYERS, WIDTHS = 128, 96, 2, (4, 6, 8, 10)


def checkpoint(prelu=True, concat=True):
    """As fairseq names it; what a film does not need is there too."""
    rng = torch.Generator().manual_seed(0)
    state = {}

    def put(name, *shape):
        state[name] = torch.randn(shape, generator=rng) / math.sqrt(max(1, math.prod(shape[1:])))

    def norm(name, width, batch=False):
        state[f"{name}.weight"] = torch.rand(width, generator=rng) + 0.5
        state[f"{name}.bias"] = torch.randn(width, generator=rng) * 0.1
        if batch:
            state[f"{name}.running_mean"] = torch.randn(width, generator=rng) * 0.1
            state[f"{name}.running_var"] = torch.rand(width, generator=rng) + 0.5
            state[f"{name}.num_batches_tracked"] = torch.tensor(3)

    def linear(name, width, out):
        put(f"{name}.weight", out, width)
        put(f"{name}.bias", out)

    front = "feature_extractor_video.resnet.frontend3D"
    put(f"{front}.0.weight", WIDTHS[0], 1, 5, 7, 7)
    norm(f"{front}.1", WIDTHS[0], batch=True)
    if prelu:
        state[f"{front}.2.weight"] = torch.rand(WIDTHS[0], generator=rng)
    before = WIDTHS[0]
    for place, width in enumerate(WIDTHS):
        for block in range(2):
            name = f"feature_extractor_video.resnet.trunk.layer{place + 1}.{block}"
            put(f"{name}.conv1.weight", width, before, 3, 3)
            put(f"{name}.conv2.weight", width, width, 3, 3)
            for one in (1, 2):
                norm(f"{name}.bn{one}", width, batch=True)
                if prelu:
                    state[f"{name}.relu{one}.weight"] = torch.rand(width, generator=rng)
            if place and not block:
                put(f"{name}.downsample.0.weight", width, before, 1, 1)
                norm(f"{name}.downsample.1", width, batch=True)
            before = width
    linear("feature_extractor_video.proj", WIDTHS[-1], WIDTH)
    linear("feature_extractor_audio.proj", 104, WIDTH)
    norm("layer_norm", 2 * WIDTH if concat else WIDTH)
    if concat:
        linear("post_extract_proj", 2 * WIDTH, WIDTH)
    put("encoder.pos_conv.0.weight_v", WIDTH, WIDTH // 4, 6)
    state["encoder.pos_conv.0.weight_g"] = torch.rand(1, 1, 6, generator=rng) + 0.5
    put("encoder.pos_conv.0.bias", WIDTH)
    norm("encoder.layer_norm", WIDTH)
    for layer in range(LAYERS):
        name = f"encoder.layers.{layer}"
        for part in "qkv":
            linear(f"{name}.self_attn.{part}_proj", WIDTH, WIDTH)
        linear(f"{name}.self_attn.out_proj", WIDTH, WIDTH)
        linear(f"{name}.fc1", WIDTH, INNER)
        linear(f"{name}.fc2", INNER, WIDTH)
        norm(f"{name}.self_attn_layer_norm", WIDTH)
        norm(f"{name}.final_layer_norm", WIDTH)
    put("mask_emb", 104)
    put("label_embs_concat", 20, 32)
    linear("final_proj", WIDTH, 32)
    return state


def written_out(state, film):
    """The same, one sum after another; `film` is (n, 96, 96)."""
    x = ((torch.from_numpy(film).float() / 255)[:, 4:92, 4:92] - 0.421) / 0.165

    def batch_norm(x, name):
        mean, var, weight, bias = (
            state[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def relu(x, name):
        slope = state.get(f"{name}.weight")
        return x.clamp(min=0) + (0 if slope is None else slope.view(1, -1, 1, 1) * x.clamp(max=0))

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    front = "feature_extractor_video.resnet.frontend3D"
    padded = torch.cat([torch.zeros(2, 88, 88), x, torch.zeros(2, 88, 88)])
    windows = torch.stack([padded[place : place + 5] for place in range(len(x))])  # five frames are five channels
    x = functional.conv2d(windows, state[f"{front}.0.weight"][:, 0], stride=2, padding=3)
    x = functional.max_pool2d(relu(batch_norm(x, f"{front}.1"), f"{front}.2"), 3, 2, 1)
    for place in range(4):
        for block in range(2):
            name = f"feature_extractor_video.resnet.trunk.layer{place + 1}.{block}"
            stride = 2 if place and not block else 1
            inner = functional.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = relu(batch_norm(inner, f"{name}.bn1"), f"{name}.relu1")
            inner = batch_norm(functional.conv2d(inner, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if stride == 2:
                x = batch_norm(
                    functional.conv2d(x, state[f"{name}.downsample.0.weight"], stride=2), f"{name}.downsample.1"
                )
            x = relu(inner + x, f"{name}.relu2")
    x = linear(x.mean((2, 3)), "feature_extractor_video.proj")
    if "post_extract_proj.weight" in state:
        x = linear(norm(torch.cat([torch.zeros_like(x), x], -1), "layer_norm"), "post_extract_proj")
    else:
        x = norm(x, "layer_norm")
    direction, length = state["encoder.pos_conv.0.weight_v"], state["encoder.pos_conv.0.weight_g"]
    kernel = length * direction / direction.pow(2).sum((0, 1), keepdim=True).sqrt()
    places = functional.conv1d(x.T[None], kernel, state["encoder.pos_conv.0.bias"], padding=3, groups=4)[0, :, :-1]
    x = x + functional.gelu(places.T)
    for layer in range(LAYERS):
        name = f"encoder.layers.{layer}"
        given = norm(x, f"{name}.self_attn_layer_norm")
        q, k, v = (linear(given, f"{name}.self_attn.{part}_proj").view(len(x), 2, 64).transpose(0, 1) for part in "qkv")
        heads = (q @ k.transpose(1, 2) / 8).softmax(-1) @ v
        x = x + linear(heads.transpose(0, 1).flatten(1), f"{name}.self_attn.out_proj")
        x = x + linear(functional.gelu(linear(norm(x, f"{name}.final_layer_norm"), f"{name}.fc1")), f"{name}.fc2")
    return norm(x, "encoder.layer_norm")


def films():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (count, 96, 96, 1), dtype=np.uint8).repeat(3, -1) for count in (7, 3)]


@pytest.mark.parametrize(
    ("prelu", "concat", "tuned"), [(True, True, False), (False, False, True)], ids=["pretrained", "fine-tuned"]
)
def test_it_gives_what_the_sums_give(prelu, concat, tuned, tmp_path):
    state = checkpoint(prelu, concat)
    kept = {f"encoder.w2v_model.{name}": value for name, value in state.items()} | {"decoder.x": torch.ones(1)}
    torch.save({"model": kept if tuned else state, "best": 3.5}, tmp_path / "lips.pt")
    save_file(kept if tuned else state, tmp_path / "lips.safetensors")
    for name in ("lips.pt", "lips.safetensors"):
        model = lips_of(str(tmp_path / name))
        assert model.width == WIDTH
        with torch.no_grad():
            for found, film in zip(model(films()), films(), strict=True):
                torch.testing.assert_close(found, written_out(state, film[..., 0]), atol=2e-4, rtol=1e-3)
    again = frame_encoder(model.config())
    again.load_state_dict(model.state_dict())
    again.train()  # the statistics of its frames stay
    assert not again.resnet.frontend3D[1].training
    with torch.no_grad():
        assert torch.equal(again.eval()(films())[1], model(films())[1])


def test_a_film_of_another_size_is_scaled_and_grey_is_weighted():
    film = np.zeros((2, 30, 40, 3), np.uint8)
    film[..., 0] = 200
    torch.testing.assert_close(mouths(film), torch.full((2, 88, 88), (0.299 * 200 / 255 - 0.421) / 0.165))


def test_files_that_are_no_such_model_are_refused(tmp_path):
    def refused(words, state=None, name="lips.safetensors"):
        if state is not None:
            save_file(state, tmp_path / name)
        with pytest.raises(CheckpointError, match=words):
            LipEncoder.open(tmp_path / name)

    state = checkpoint()
    refused("there is no", name="none.pt")
    refused("holds no feature_extractor_video", {"a": torch.ones(1)})
    refused(
        "lacks encoder.layer_norm.bias and 0 more", {k: v for k, v in state.items() if k != "encoder.layer_norm.bias"}
    )
    refused("holds what AV-HuBERT has not: encoder.more", state | {"encoder.more": torch.ones(1)})
    refused("in another shape", state | {"layer_norm.weight": torch.ones(3)})
    refused("so it is no whole AV-HuBERT", {k: v for k, v in state.items() if ".fc1." not in k})
    torch.save({"model": state, "cfg": Namespace(label_rate=25)}, tmp_path / "fairseq.pt")
    refused("holds more than tensors", name="fairseq.pt")
    (tmp_path / "broken.pt").write_bytes(b"none")
    refused("cannot be read|holds more than tensors", name="broken.pt")
