"""What the recipes of speech share: sounds and pictures made here, models of random weights, and the steps."""

from __future__ import annotations

import argparse
import json
import wave
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import anysize as az
from anysize.core.verbs.fit import unfinished
from anysize.core.verbs.panels import panels
from anysize.tokens.speech.methods import Rated

WORDS = ("ba", "de", "fi", "go")
RATE, FPS, LONG = 16000, 25, 0.4
"""Samples and pictures a second; seconds of a word."""
PROMPT = ("<pad>", "<s>", "</s>", "<unk>", "transcribe", "speech", "and", "video", "to", "text.")


def run(method: Rated, doc: str | None, words: Sequence[str] | None) -> None:
    """Make the data and the models to start from, nest them, measure and cut."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the data, the models and the frontier")
    parser.add_argument("--data", type=Path, help="a manifest with the columns audio, video and text")
    parser.add_argument("--encoder", help="what hears, by folder or hub name; then --lm too")
    parser.add_argument("--lm", help="what writes, by folder or hub name")
    parser.add_argument("--clips", type=int, default=160, help="clips to make")
    parser.add_argument("--epochs", type=float, default=20.0, help="passes over them")
    args = parser.parse_args(words)
    args.out.mkdir(parents=True, exist_ok=True)
    data = args.data or made(args.out / "clips", args.clips)
    given = args.encoder and args.lm
    bases = (args.encoder, args.lm) if given else random_bases(args.out / "bases")
    method = replace(
        method, encoder=str(bases[0]), lm=str(bases[1]), epochs=args.epochs, learning_rate=1e-3 if given else 3e-3,
        train="adapters" if given else "all",
    )  # fmt: skip
    ear = az.fit(data, method=method, out=args.out / "ear", resume=unfinished(args.out / "ear"))
    frontier = az.measure(ear, data)
    print(frontier.table())
    frontier.to_html(args.out / "ear.html", panels=panels(ear, data, frontier))
    small = ear.extract(ear.nesting[0])
    small.save(args.out / "small")
    print(f"{args.out / 'small'}: {small.size}, {small.paid()}")


def made(folder: Path, count: int) -> Path:
    """A manifest of clips of two words each, a tenth of them for the test."""
    path = folder / "clips.jsonl"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng(0), []
    for place in range(count):
        said = rng.integers(0, len(WORDS), 2).tolist()
        write_wav(folder / f"{place}.wav", np.concatenate([_chord(word, rng) for word in said]))
        write_film(folder / f"{place}.mkv", np.concatenate([_lit(word, rng) for word in said]))
        split = "test" if place % 10 == 0 else "train"
        text = " ".join(WORDS[word] for word in said)
        rows.append({"audio": f"{place}.wav", "video": f"{place}.mkv", "text": text, "split": split})
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def _chord(word: int, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(int(LONG * RATE)) / RATE
    pitches = [pitch * rng.uniform(0.97, 1.03) for pitch in (300 * (1 + word), 2000 + 700 * word)]
    tones = [np.sin(2 * np.pi * pitch * time) for pitch in pitches]
    return (0.15 * np.hanning(len(time)) * sum(tones) + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


def _lit(word: int, rng: np.random.Generator) -> np.ndarray:
    frames = rng.integers(0, 60, (int(LONG * FPS), 16, 16), dtype=np.uint8)
    frames[:, 8 * (word // 2) : 8 * (word // 2) + 8, 8 * (word % 2) : 8 * (word % 2) + 8] += 150
    return frames


def write_wav(path: Path, samples: np.ndarray) -> None:
    """A WAV of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())


def write_film(path: Path, frames: np.ndarray) -> None:
    """A film without loss, in grey."""
    import av

    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("ffv1", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "gray"
        for one in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="gray")))
        file.mux(stream.encode())


def random_bases(folder: Path) -> tuple[Path, Path]:
    """A small Whisper and a small Llama of random weights, as transformers keeps them."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperModel,
    )  # fmt: skip

    places = folder / "whisper", folder / "llama"
    if all(place.exists() for place in places):
        return places
    torch.manual_seed(0)
    common: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    sound = WhisperConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_ffn_dim=32, num_mel_bins=24, max_source_positions=50, vocab_size=20,
        decoder_start_token_id=1, **common,
    )  # fmt: skip
    WhisperModel(sound).save_pretrained(places[0])
    WhisperFeatureExtractor(feature_size=24, chunk_length=1).save_pretrained(places[0])
    known = {word: place for place, word in enumerate((*PROMPT, *WORDS))}
    tokens = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokens.normalizer, tokens.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()
    llama = LlamaConfig(
        hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        vocab_size=len(known), max_position_embeddings=512, **common,
    )  # fmt: skip
    LlamaForCausalLM(llama).save_pretrained(places[1])
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(places[1])
    return places
