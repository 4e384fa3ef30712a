"""
compressed-tensors (pack-quantized), which vLLM and transformers read: dense codes with whole zero-points.

The folder is the ordinary one with ``weight_packed``, ``weight_scale``, ``weight_shape`` and, where zero is not in the
middle, ``weight_zero_point`` in place of the weights of linear layers, and a ``quantization_config``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save

from anysize.core.errors import AnysizeError
from anysize.core.files import read_json, write_bytes, write_json
from anysize.quantize.codes.scheme import Scheme
from anysize.quantize.export.floats import loaded_again
from anysize.quantize.export.shared import Written, bits_of, embeds, homes, require_same, write_floats
from anysize.quantize.layers.grid_codes import GridCodes, whole
from anysize.quantize.layers.stored import StoredLinear

if TYPE_CHECKING:
    from anysize.quantize.model.model import Quantized

WEIGHTS = "model.safetensors"
ATOL = 1e-5


def write_compressed(view: Quantized, directory: Path) -> Written:
    """
    Write the model and check it: every layer decompressed by the library, then the whole as it is loaded from there.

    Raises `AnysizeError` if a zero-point is not whole, a layer scales its inputs, or the library is missing.
    """
    library = _library()
    # Tables stay floats: transformers does not load packed ones.
    linear = {name: part for name, part in view.layers().items() if isinstance(part, StoredLinear)}
    found = {name: whole(part, bits_of(view, name), "compressed-tensors") for name, part in linear.items()}
    model, _ = write_floats(view, directory)
    state = load_file(directory / WEIGHTS)
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, home in ((name, home) for name, home in homes(view, model).items() if name in linear):
        key = next(key for key in state if f"{home}.weight" == key or f"{home}.weight".endswith(f".{key}"))
        stem, part = key.removesuffix(".weight"), linear[name]
        level = found[name]
        args = _arguments(level, part.scheme)
        packed = _packed(level, part, args, library)
        require_same(
            library.decompress(packed, args), part.floats(bits_of(view, name)), ATOL, f"{stem} as decompressed"
        )
        del state[key]
        state.update({f"{stem}.{suffix}": value for suffix, value in packed.items()})
        groups.setdefault(tuple(sorted(args.items())), []).append(stem)
    if len(groups) > 1 and (embeds(view) or not all(dict(args)["symmetric"] for args in groups)):
        raise AnysizeError(
            "transformers reads a width per layer from compressed-tensors only of language models whose zero-point is "
            "the middle (fit with symmetric codes, and not with extra precision); use the format onnx or safetensors"
        )
    write_bytes(directory / WEIGHTS, save(state, {"format": "pt"}))
    config = read_json(directory / "config.json", "a Hugging Face model")
    config["quantization_config"] = _config(groups)
    write_json(directory / "config.json", config)
    index = directory / f"{WEIGHTS}.index.json"
    if index.exists():
        raise AnysizeError("models of several files of weights cannot be written as compressed-tensors yet")
    said = {"widths": {str(dict(args)["num_bits"]): len(stems) for args, stems in groups.items()}}
    return Written(said, (loaded_again(view, model, directory),))


def _arguments(level: GridCodes, scheme: Scheme) -> dict[str, Any]:
    group = scheme.group_size
    zero = level.zero_point
    assert zero is not None
    return {
        "num_bits": level.width,
        "type": "int",
        "symmetric": bool((zero == 1 << (level.width - 1)).all()),
        "strategy": "channel" if group is None else "group",
        "group_size": group,
        "dynamic": False,
    }


def _packed(level: GridCodes, part: StoredLinear, args: dict[str, Any], library: _Library) -> dict[str, torch.Tensor]:
    middle = 1 << (level.width - 1)
    packed = {
        "weight_packed": library.pack((level.codes - middle).to(torch.int8), level.width),
        "weight_scale": level.grid.scale.contiguous(),
        "weight_shape": torch.tensor([part.rows, part.features]),
    }
    if not args["symmetric"]:
        zero = level.zero_point
        assert zero is not None
        packed["weight_zero_point"] = library.pack((zero - middle).to(torch.int8), level.width, packed_dim=0)
    return packed


def _config(groups: dict[tuple[Any, ...], list[str]]) -> dict[str, Any]:
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        # How transformers reads it: at loading, which knows one scheme, or at the first call, which knows several,
        # but neither zero-points nor sentence-transformers, since that goes around the call.
        "dequantize": len(groups) == 1,
        "ignore": [],
        "config_groups": {
            f"group_{place}": {
                # A full name that other layers end with would name those too, so names stand as patterns.
                "targets": [f"re:^{json.dumps(stem)[1:-1].replace('.', '[.]')}$" for stem in stems],
                "weights": dict(args),
                "input_activations": None,
                "output_activations": None,
                "format": "pack-quantized",
            }
            for place, (args, stems) in enumerate(groups.items())
        },
    }


class _Library:
    """What is used of compressed-tensors."""

    def __init__(self) -> None:
        from compressed_tensors.compressors import PackedQuantizationCompressor, pack_to_int32
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

        self.pack = pack_to_int32
        self._compressor, self._args, self._scheme = PackedQuantizationCompressor, QuantizationArgs, QuantizationScheme

    def decompress(self, packed: dict[str, torch.Tensor], args: dict[str, Any]) -> torch.Tensor:
        """The float weight, as the library reads it."""
        scheme = self._scheme(targets=["Linear"], weights=self._args(**args))
        found: torch.Tensor = self._compressor.decompress(dict(packed), scheme)["weight"]
        return found


def _library() -> _Library:
    try:
        return _Library()
    except ImportError:
        raise AnysizeError(
            "writing compressed-tensors needs its library: pip install 'anysize[compressed-tensors]'"
        ) from None
