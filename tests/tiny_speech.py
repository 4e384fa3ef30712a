"""Speech recognisers with random weights, small enough to run a hundred times a second; sounds and films of noise."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.backbones.speech.encoders import FrameEncoder, PixelFrames, SoundEncoder
from anysize.tokens.adapters.adapted import any_scale
from anysize.tokens.speech.holding import Parts
from anysize.tokens.speech.model import NestedSpeech
from anysize.tokens.speech.scaled.scales import nested
from tests.tiny_vlm import tiny_tokenizer

WORDS = [
    *("<pad>", "<s>", "</s>", "<unk>", "<image>", "transcribe", "speech", "and", "video", "to", "text."),
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
]
RATE = 16000
LORA = {"kind": "lora", "strategy": "ss", "rank": 2, "alpha": 4.0, "targets": ["q_proj", "v_proj"]}
SPEC = {
    "tasks": ["avsr"], "mode": "pool", "remainder": "keep", "share": False, "hidden": 16, "norm": True,
    "missing": "refuse", "adapter": LORA,
}  # fmt: skip


def tiny_whisper(seconds: float = 2.0) -> SoundEncoder:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=16, max_source_positions=int(50 * seconds), vocab_size=20,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, init_std=0.2,
    )  # fmt: skip
    return SoundEncoder(WhisperModel(config).eval().get_encoder(), WhisperFeatureExtractor(feature_size=16))


def tiny_wav2vec() -> SoundEncoder:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, conv_dim=(8, 8),
        conv_stride=(20, 16), conv_kernel=(40, 16), num_feat_extract_layers=2, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    return SoundEncoder(Wav2Vec2Model(config).eval(), Wav2Vec2FeatureExtractor())


def tiny_vit() -> FrameEncoder:
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )
    prepare = ViTImageProcessorPil(size={"height": 16, "width": 16})
    return FrameEncoder(ViTModel(config).eval(), prepare)


def tiny_lm(**more: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        **{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
           "num_key_value_heads": 1, "vocab_size": len(WORDS), "max_position_embeddings": 256, "pad_token_id": 0,
           "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3} | more
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def tiny_speech(
    audio: tuple[int, ...] | None = (4, 16), video: tuple[int, ...] | None = (2, 5), *, seed: int = 0,
    sound: Any = None, lips: Any = None, lm: dict[str, Any] | None = None, **spec: Any,
) -> NestedSpeech:  # fmt: skip
    """A model whose adapters are not what they begin as, so that each of them counts."""
    torch.manual_seed(seed)
    parts = Parts(
        tiny_lm(**(lm or {})), tiny_tokenizer(WORDS), (sound or tiny_whisper)() if audio else None,
        (lips or PixelFrames)() if video else None,
    )  # fmt: skip
    spec = {**SPEC, **spec}
    open_ = spec["share"] and any_scale(spec["adapter"])
    model = NestedSpeech(nested(open=open_, audio=audio, video=video), parts, spec)
    with torch.no_grad():
        for name, weight in model.learnt().items():
            if "lora_B" in name or name.endswith("up"):
                weight.normal_(std=0.3)
    return model.eval()


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """A sound."""
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def film(seconds: float, seed: int = 0, side: int = 16) -> np.ndarray:
    """Grey frames of noise, 25 a second."""
    return np.random.default_rng(seed).integers(0, 256, (round(seconds * 25), side, side), dtype=np.uint8)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE, *, width: int = 2, channels: int = 1) -> Path:
    """A WAV of so many bytes a sample, all channels alike."""
    scaled = (samples.clip(-1, 1) * (2 ** (8 * width - 1) - 1)).astype("<i4")
    content = np.repeat(scaled, channels).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(content)
    return path


def write_film(path: Path, frames: np.ndarray, rate: int = 25) -> Path:
    """A film without loss."""
    import av

    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("ffv1", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "gray"
        for one in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="gray")))
        file.mux(stream.encode())
    return path


def write_clips(folder: Path, count: int = 12) -> Path:
    """A manifest of clips, in which the first frame and the pitch tell the word."""
    rows = []
    for place in range(count):
        word = WORDS[11 + place % 4]
        time = np.arange(RATE // 2) / RATE
        tone = (0.3 * np.sin(2 * np.pi * 300 * (1 + place % 4) * time)).astype(np.float32) + noise(0.5, place) * 0.05
        frames = np.full((12, 16, 16), 60 * (place % 4), np.uint8)
        frames[:, :4] = place
        write_wav(folder / f"{place}.wav", tone)
        write_film(folder / f"{place}.mkv", frames)
        rows.append({"audio": f"{place}.wav", "video": f"{place}.mkv", "text": word})
    path = folder / "clips.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def write_bases(folder: Path) -> tuple[Path, Path]:
    """An encoder of sound and a language model, each in a folder as transformers writes them."""
    from transformers import WhisperModel

    torch.manual_seed(0)
    sound = tiny_whisper()
    whole = WhisperModel(sound.model.config)
    whole.save_pretrained(folder / "whisper")
    sound.prepare.save_pretrained(folder / "whisper")
    tiny_lm().save_pretrained(folder / "lm")
    tiny_tokenizer(WORDS).save_pretrained(folder / "lm")
    return folder / "whisper", folder / "lm"
