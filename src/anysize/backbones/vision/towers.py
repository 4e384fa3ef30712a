"""
Image encoders of timm, torchvision and transformers, opened as one thing: a vector and patch tokens for each picture.

A tower is named ``timm:vit_tiny_patch16_224``, ``torchvision:resnet18``, or by a folder or hub name of transformers. A
colon and numbers change how it is made: ``timm:vit_tiny_patch16_224:img_size=32,patch_size=4,depth=4``. What is saved
is a name that the library knows or a configuration, and weights: no code of a file runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

from anysize.backbones.huggingface import configuration
from anysize.backbones.vision.squares import normalised, side_of, squares
from anysize.core.errors import AnysizeError, CheckpointError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, where a model says nothing of its own."""


class Seen(NamedTuple):
    """What a tower gives for n pictures."""

    pooled: torch.Tensor
    """(n, width): the class token where there is one, else the mean of the patches."""
    patches: torch.Tensor
    """(n, rows, columns, width), without class and register tokens."""


class Tower(nn.Module):
    """One network and how pictures are prepared for it; `spec` is all of that as JSON, but for the weights."""

    library: ClassVar[str]
    any_size = True
    """Whether pictures of several sizes can be given."""

    def __init__(self, net: nn.Module, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.net, self.spec = net, dict(spec)
        self.side, self.crop = int(spec["side"]), float(spec["crop"])
        training = net.training
        with torch.no_grad():
            seen = self.eval()(torch.zeros(1, 3, self.side, self.side))
        self.width = seen.pooled.shape[1]
        self.grid = (seen.patches.shape[1], seen.patches.shape[2])
        """Rows and columns of patches of a picture of `side`."""
        self.patch = self.side // self.grid[0]
        self.train(training)

    def pixels(self, rows: Any, *, squeezed: bool = False) -> torch.Tensor:
        """Pictures as the tower takes them, (n, 3, side, side); `squeezed` shows all of each, out of proportion."""
        return self.prepared(squares(rows, self.side, 0.0 if squeezed else self.crop))

    def prepared(self, found: torch.Tensor) -> torch.Tensor:
        """Squares of pixels (uint8, or from 0 to 1), normalised, on the device of the weights."""
        return normalised(found.to(next(self.parameters()).device), self.spec["mean"], self.spec["std"])

    def forward(self, pixels: torch.Tensor) -> Seen:
        """A vector and patches of each picture (n, 3, rows, columns)."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it looks at pictures")

    @classmethod
    def made(cls, spec: Mapping[str, Any]) -> Tower:
        """One without weights. Raises `CheckpointError` for what the library does not know."""
        raise NotImplementedError(f"{cls.__name__} does not say how it is made")

    def _split(self, tokens: torch.Tensor, pixels: torch.Tensor, patch: int) -> Seen:
        """Tokens (n, class and registers and patches, width), of patches of so many pixels."""
        rows, columns = pixels.shape[2] // patch, pixels.shape[3] // patch
        extra = tokens.shape[1] - rows * columns
        if extra < 0:
            raise AnysizeError(
                f"the tower gives {tokens.shape[1]} tokens for {rows} x {columns} patches; it merges some"
            )
        patches = tokens[:, extra:].unflatten(1, (rows, columns))
        return Seen(tokens[:, 0] if extra else patches.mean((1, 2)), patches)


class TimmTower(Tower):
    """Any model of timm with ``forward_features``: transformers and convolutional networks."""

    library = "timm"

    def __init__(self, net: nn.Module, spec: Mapping[str, Any]) -> None:
        self.any_size = not hasattr(net, "patch_embed") or bool(spec["args"].get("dynamic_img_size"))
        super().__init__(net, spec)

    @classmethod
    def made(cls, spec: Mapping[str, Any], weights: bool = False) -> Tower:
        """By a name that timm knows, perhaps with its weights."""
        timm = library_of("timm")
        if not timm.is_model(spec["name"]):  # a name of the hub would fetch a configuration
            raise CheckpointError(f"this version of timm knows no model {spec['name']!r}")
        args = _plain(spec["args"])
        try:
            net = timm.create_model(
                spec["name"], pretrained=weights, num_classes=0, **{"dynamic_img_size": True, **args}
            )
            args = {"dynamic_img_size": True, **args}
        except TypeError:  # not a plain vision transformer
            net = timm.create_model(spec["name"], pretrained=weights, num_classes=0, **args)
        if "side" in spec:
            return cls(net, {**spec, "args": args})
        known = timm.data.resolve_data_config({}, model=net)
        side = side_of(args.get("img_size", known["input_size"][1:]), spec["name"])
        shown = {"mean": list(known["mean"]), "std": list(known["std"]), "crop": float(known["crop_pct"])}
        return cls(net, {**spec, "args": args, "side": side, **shown})

    def forward(self, pixels: torch.Tensor) -> Seen:
        """A vector and patches of each picture."""
        net: Any = self.net
        found = net.forward_features(pixels)
        pooled = net.forward_head(found, pre_logits=True)
        if found.dim() == 4:
            last = found.shape[-1] == pooled.shape[1] and found.shape[1] != pooled.shape[1]
            return Seen(pooled, found if last else found.permute(0, 2, 3, 1))
        return Seen(pooled, self._split(found, pixels, int(net.patch_embed.patch_size[0])).patches)


class TorchvisionTower(Tower):
    """A classifier of torchvision without its classifier: all up to its last pooling, or its transformer."""

    library = "torchvision"

    def __init__(self, net: nn.Module, spec: Mapping[str, Any]) -> None:
        self.any_size = not hasattr(net, "conv_proj")
        super().__init__(net, spec)

    @classmethod
    def made(cls, spec: Mapping[str, Any], weights: bool = False) -> Tower:
        """By a name of a classifier, perhaps with its weights."""
        models = library_of("torchvision").models
        if spec["name"] not in models.list_models(module=models):
            raise CheckpointError(f"this version of torchvision knows no image classifier {spec['name']!r}")
        args = {("image_size" if name == "img_size" else name): value for name, value in _plain(spec["args"]).items()}
        whole = models.get_model(spec["name"], weights="DEFAULT" if weights else None, **args)
        side = int(args.get("image_size", 224))
        full = {"side": side, "mean": list(MEAN), "std": list(STD), "crop": 0.875, **spec}
        if hasattr(whole, "conv_proj"):
            whole.heads = nn.Identity()
            return cls(whole, full)
        parts = list(whole.named_children())
        last = next((place for place, (name, _) in enumerate(parts) if name == "avgpool"), None)
        if last is None:
            raise AnysizeError(f"torchvision's {spec['name']} has no last pooling called avgpool; take it from timm")
        return cls(nn.Sequential(*(part for _, part in parts[:last])), full)

    def forward(self, pixels: torch.Tensor) -> Seen:
        """A vector and patches of each picture."""
        net: Any = self.net
        if self.any_size:
            found = net(pixels).permute(0, 2, 3, 1)
            return Seen(found.mean((1, 2)), found)
        tokens = net._process_input(pixels)
        tokens = torch.cat([net.class_token.expand(len(tokens), -1, -1), tokens], 1)
        return self._split(net.encoder(tokens), pixels, int(net.patch_size))


class TransformersTower(Tower):
    """An image model of transformers, or the vision half of one with two towers."""

    library = "transformers"

    def __init__(self, net: Any, spec: Mapping[str, Any]) -> None:
        import inspect

        self.scales = "interpolate_pos_encoding" in inspect.signature(net.forward).parameters
        own = net.config.model_type.startswith(("dinov2", "dinov3")) or not hasattr(net.config, "patch_size")
        self.any_size = self.scales or own
        super().__init__(net, spec)

    @classmethod
    def made(cls, spec: Mapping[str, Any]) -> Tower:
        """By its configuration."""
        from transformers import AutoModel

        return cls(AutoModel.from_config(configuration(spec["config"])), spec)

    def forward(self, pixels: torch.Tensor) -> Seen:
        """A vector and patches of each picture."""
        net: Any = self.net
        more = {"interpolate_pos_encoding": True} if self.scales else {}
        found = net(pixel_values=pixels, **more).last_hidden_state
        if found.dim() == 4:
            return Seen(found.mean((2, 3)), found.permute(0, 2, 3, 1))
        patch = net.config.patch_size
        return self._split(found, pixels, int(patch if isinstance(patch, int) else patch[0]))


KINDS: dict[str, type[Any]] = {kind.library: kind for kind in (TimmTower, TorchvisionTower, TransformersTower)}


def build_tower(spec: Mapping[str, Any]) -> Tower:
    """The tower of a `spec` with weights that mean nothing yet. Raises `CheckpointError` for one that is unknown."""
    if spec.get("library") not in KINDS:
        raise CheckpointError(f"{spec.get('library')!r} is no library of towers; expected {', '.join(KINDS)}")
    made: Tower = KINDS[spec["library"]].made(spec)
    return made.eval()


def _plain(args: Mapping[str, Any]) -> dict[str, int]:
    """Arguments that are numbers. Raises `CheckpointError` for others: a saved model could name a file to unpickle."""
    if not all(isinstance(value, int) for value in args.values()):
        raise CheckpointError(f"a tower is made with whole numbers; got {dict(args)!r:.100}")
    return dict(args)


def library_of(name: str) -> Any:
    """One of timm and torchvision. Raises `AnysizeError` where it is not installed, or not for the torch that is."""
    import importlib

    try:
        found = importlib.import_module(name)
        importlib.import_module(f"{name}.{'data' if name == 'timm' else 'models'}")
    except ImportError:
        raise AnysizeError(f'{name} is not installed; pip install "anysize[timm]"') from None
    except RuntimeError as error:  # torchvision that was built for another torch
        raise AnysizeError(
            f"{name} cannot be loaded beside this torch ({error}); install the one made for it"
        ) from None
    return found
