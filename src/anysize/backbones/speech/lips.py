"""
Lips read by AV-HuBERT's video branch (Shi et al., arXiv 2201.02184): a small residual network, then a transformer.

transformers has no such model, so its parts are here: a convolution over five frames, ResNet-18's blocks for each
frame, and the transformer of HuBERT. The branch of sound is not read; in its place stand zeros, as in the released
code. A checkpoint holds neither its heads nor where its norms stand: heads are 64 wide and norms come first, as in all
that were released.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from anysize.core.errors import CheckpointError

AV_HUBERT = "av-hubert"
SIDE, CROP = 96, 88
"""Pixels of a film of a mouth, and of its middle that is seen."""
MEAN, SPREAD = 0.421, 0.165
"""Of grey, between 0 and 1, as the released models were trained on."""
GREY = (0.299, 0.587, 0.114)
HEAD = 64
_MOVED = (
    ("feature_extractor_video.", ""), ("layer_norm.", "fused_norm."), ("post_extract_proj.", "fused."),
    ("encoder.pos_conv.0.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    ("encoder.pos_conv.0.weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    ("encoder.pos_conv.0.bias", "encoder.pos_conv_embed.conv.bias"),
    ("encoder.", "encoder."),
)  # fmt: skip
_BLOCK = {
    ".self_attn.": ".attention.", ".self_attn_layer_norm.": ".layer_norm.",
    ".fc1.": ".feed_forward.intermediate_dense.", ".fc2.": ".feed_forward.output_dense.",
}  # fmt: skip
_PASSED = ("feature_extractor_audio.", "mask_emb", "label_embs_concat", "final_proj.", "target_glu.")
"""What a checkpoint also holds: the branch of sound, and what only its own training needs."""


class _Block(nn.Module):
    """Two convolutions beside a way around them, as in ResNet-18."""

    def __init__(self, width: int, out: int, stride: int, prelu: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.relu1, self.relu2 = _relu(out, prelu), _relu(out, prelu)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or width != out:
            self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        found: torch.Tensor = self.relu2(inner + self.downsample(x))
        return found


class _ResNet(nn.Module):
    """Frames (1, n, 88, 88) -> (n, width)."""

    def __init__(self, widths: Sequence[int], blocks: int, prelu: bool) -> None:
        super().__init__()
        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, widths[0], (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False), nn.BatchNorm3d(widths[0]),
            _relu(widths[0], prelu), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )  # fmt: skip
        self.trunk = nn.ModuleDict()
        for place, (width, out) in enumerate(zip((widths[0], *widths), widths, strict=False)):
            first = _Block(width, out, 1 if place == 0 else 2, prelu)
            rest = (_Block(out, out, 1, prelu) for _ in range(blocks - 1))
            self.trunk[f"layer{place + 1}"] = nn.Sequential(first, *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.frontend3D(x[None])[0].transpose(0, 1)
        for layer in self.trunk.values():
            x = layer(x)
        return x.mean((2, 3))


class LipEncoder(nn.Module):
    """Films of mouths to frames, each by itself; `spec` holds the sizes that `sizes` finds in a checkpoint."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        from transformers import HubertConfig, HubertModel

        super().__init__()
        self.spec, width = dict(spec), spec["width"]
        self.resnet = _ResNet(spec["widths"], spec["blocks"], spec["prelu"])
        self.proj = nn.Linear(spec["widths"][-1], width)
        self.fused_norm = nn.LayerNorm(2 * width if spec["concat"] else width)
        self.fused = nn.Linear(2 * width, width) if spec["concat"] else nn.Identity()
        config = HubertConfig(
            hidden_size=width, num_hidden_layers=spec["layers"], num_attention_heads=max(1, width // HEAD),
            intermediate_size=spec["inner"], num_conv_pos_embeddings=spec["kernel"],
            num_conv_pos_embedding_groups=spec["groups"], do_stable_layer_norm=True, conv_dim=(8,), conv_kernel=(2,),
            conv_stride=(2,), layerdrop=0.0,
        )  # fmt: skip
        self.encoder = HubertModel(config).encoder

    @classmethod
    def open(cls, name: str | os.PathLike[str]) -> Self:
        """
        Of a file, ``.safetensors`` or one of torch that holds tensors alone; no code of it runs.

        Raises `CheckpointError` for one that cannot be read, and for weights that it lacks or that belong nowhere.
        """
        path = Path(name)
        state = placed(_read(path), str(path))
        made = cls(sizes(state, str(path)))
        wanted = {key for key in made.state_dict() if not key.endswith("num_batches_tracked")}
        for what, names in (("lacks", wanted - state.keys()), ("holds what AV-HuBERT has not:", state.keys() - wanted)):
            if names:
                raise CheckpointError(f"{path} {what} {min(names)} and {len(names) - 1} more")
        wrong = [key for key, value in state.items() if made.state_dict()[key].shape != value.shape]
        if wrong:
            raise CheckpointError(f"{path} has, in another shape than the rest of it says, {min(wrong)}")
        made.load_state_dict(state, strict=False)
        return made.eval()

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Self:
        """An untrained one of this configuration."""
        return cls({name: value for name, value in config.items() if name != "model_type"}).eval()

    def forward(self, films: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """(n, rows, columns, 3) each -> (n, width) each."""
        return [self._one(film) for film in films]

    def _one(self, film: np.ndarray) -> torch.Tensor:
        seen = self.proj(self.resnet(mouths(film).to(self.proj.weight.device)[None]))
        if self.spec["concat"]:
            seen = torch.cat([torch.zeros_like(seen), seen], -1)  # sound would stand first
        found: torch.Tensor = self.encoder(self.fused(self.fused_norm(seen))[None]).last_hidden_state[0]
        return found

    def train(self, mode: bool = True) -> Self:
        """As for any module, but the statistics of its frames stay those that it was trained with."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm3d)):
                part.eval()
        return self

    @property
    def width(self) -> int:
        """Of its frames."""
        return int(self.spec["width"])

    def config(self) -> dict[str, Any]:
        """Its configuration."""
        return {"model_type": AV_HUBERT, **self.spec}

    def save(self, folder: Path) -> None:
        """There is nothing to write beside its weights."""

    def load(self, folder: Path) -> None:
        """There is nothing to read beside its weights."""


def mouths(film: np.ndarray) -> torch.Tensor:
    """(n, rows, columns, 3), a film of a mouth -> (n, 88, 88): grey, scaled to 96 x 96, its middle, standardised."""
    grey = torch.from_numpy(np.ascontiguousarray(film)).float() @ torch.tensor(GREY) / 255
    if grey.shape[1:] != (SIDE, SIDE):
        grey = nn.functional.interpolate(grey[:, None], (SIDE, SIDE), mode="bilinear", antialias=True)[:, 0]
    edge = (SIDE - CROP) // 2
    return (grey[:, edge : edge + CROP, edge : edge + CROP] - MEAN) / SPREAD


def placed(state: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """A checkpoint's weights under our names. Raises `CheckpointError` for one that holds no video branch."""
    prefix = "encoder.w2v_model."  # of those that were fine-tuned, beside a decoder
    if any(key.startswith(prefix) for key in state):
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if "feature_extractor_video.proj.weight" not in state:
        raise CheckpointError(f"{name} holds no feature_extractor_video, so it is no AV-HuBERT")
    found = {}
    for key, value in state.items():
        if key.startswith(_PASSED) or key.endswith("num_batches_tracked"):
            continue
        before, after = next(((one, two) for one, two in _MOVED if key.startswith(one)), ("", ""))
        ours = after + key.removeprefix(before)
        for theirs, mine in _BLOCK.items():
            ours = ours.replace(theirs, mine)
        found[ours] = value.float()
    return found


def sizes(state: Mapping[str, torch.Tensor], name: str) -> dict[str, Any]:
    """What the shapes of weights say, under our names. Raises `CheckpointError` if they lack what says it."""
    try:
        width = len(state["proj.weight"])
        _, each, kernel = state["encoder.pos_conv_embed.conv.parametrizations.weight.original1"].shape
        return {
            "width": width, "inner": len(state["encoder.layers.0.feed_forward.intermediate_dense.weight"]),
            "layers": 1 + max(int(key.split(".")[2]) for key in state if key.startswith("encoder.layers.")),
            "kernel": int(kernel), "groups": width // int(each), "concat": "fused.weight" in state,
            "prelu": "resnet.frontend3D.2.weight" in state,
            "widths": [len(state[f"resnet.trunk.layer{place}.0.conv1.weight"]) for place in range(1, 5)],
            "blocks": 1 + max(int(key.split(".")[3]) for key in state if key.startswith("resnet.trunk.layer1.")),
        }  # fmt: skip
    except KeyError as missing:
        raise CheckpointError(f"{name} lacks {missing.args[0]}, so it is no whole AV-HuBERT") from None


def is_checkpoint(name: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a file of weights, in place of a folder or hub name."""
    return Path(name).suffix in (".pt", ".pth", ".bin", ".safetensors")


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        held: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no {path}") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds more than tensors (fairseq keeps its options in it), which could run code, so it is not "
            'opened; where it is trusted, write its "model" alone as .safetensors'
        ) from None
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError):
        raise CheckpointError(f"{path} cannot be read") from None
    found: dict[str, torch.Tensor] = held.get("model", held) if isinstance(held, dict) else {}
    if not found or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise CheckpointError(f"{path} holds no weights by name")
    return found


def _relu(width: int, prelu: bool) -> nn.Module:
    return nn.PReLU(width) if prelu else nn.ReLU()
