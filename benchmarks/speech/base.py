"""
The small models that every arm begins with: a Whisper encoder that has learnt which digit is spoken in each frame, and
a Llama that has learnt to write down what it is given at two frames of sound and one picture a token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.backbones.speech.encoders import PixelFrames, SoundEncoder
from anysize.core.files import new_directory
from anysize.tokens.speech.holding import Parts
from anysize.tokens.speech.model import NestedSpeech
from anysize.tokens.speech.scaled.scales import Scale, nested
from anysize.tokens.speech.training import transcript_loss
from benchmarks.speech.digits import SECONDS, SILENCE, WORDS, Utterance

WIDTH, BLOCKS, HEARING = 64, 2, 48
RICH = Scale(2, 1)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "transcribe", "speech", "and", "video", "to", "text.")
MARKER = "base.json"


def tokenizer() -> Any:
    """A token a word."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {word: place for place, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def base(folder: Path, said: Sequence[Utterance], seed: int, *, hear: int = 250, write: int = 600) -> Path:
    """The folder of the trained models, ``sound`` and ``lm``, made there if they are not; steps of each training."""
    if (folder / MARKER).exists():
        return folder
    torch.manual_seed(seed)
    sound, heard_loss = _hearing(said, hear, seed)
    lm, written_loss = _writing(sound, said, write, seed)
    with new_directory(folder, marker=MARKER) as target:
        _whole(sound).save_pretrained(str(target / "sound"))
        sound.prepare.save_pretrained(str(target / "sound"))
        lm.save_pretrained(str(target / "lm"))
        tokenizer().save_pretrained(str(target / "lm"))
        told = {"seed": seed, "hear": hear, "write": write, "losses": [heard_loss, written_loss]}
        (target / MARKER).write_text(json.dumps(told))
    return folder


def _config() -> Any:
    from transformers import WhisperConfig

    return WhisperConfig(
        d_model=HEARING, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=4 * HEARING, decoder_ffn_dim=HEARING, num_mel_bins=40,
        max_source_positions=int(50 * SECONDS), vocab_size=20, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1,
    )  # fmt: skip


def _whole(sound: SoundEncoder) -> Any:
    """A Whisper around the encoder, as transformers keeps one; its decoder is never used."""
    from transformers import WhisperModel

    whole = WhisperModel(sound.model.config)
    whole.encoder.load_state_dict(sound.model.state_dict())
    return whole


def _hearing(said: Sequence[Utterance], steps: int, seed: int) -> tuple[SoundEncoder, float]:
    from transformers import WhisperFeatureExtractor, WhisperModel

    prepare = WhisperFeatureExtractor(feature_size=40, chunk_length=int(SECONDS))
    sound = SoundEncoder(WhisperModel(_config()).get_encoder(), prepare)
    features = torch.cat([_features(prepare, said[start : start + 100]) for start in range(0, len(said), 100)])
    labels = torch.full((len(said), int(50 * SECONDS)), SILENCE)
    for row, one in enumerate(said):
        for begin, end, digit in one.spans:
            labels[row, round(begin * 50) : round(end * 50)] = digit
    head, rng = torch.nn.Linear(HEARING, SILENCE + 1), np.random.default_rng([seed, 1])
    weights = [*sound.model.parameters(), *head.parameters()]
    optimizer, loss = torch.optim.AdamW([one for one in weights if one.requires_grad], 2e-3), torch.zeros(())
    sound.model.train()
    for step in range(steps):
        _rate(optimizer, 2e-3, step, steps)
        rows = rng.integers(0, len(said), 16)
        seen = sound.model(features[rows]).last_hidden_state
        loss = functional.cross_entropy(head(seen).flatten(0, 1), labels[rows].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sound.model.eval()
    return sound, float(loss.detach())


def _features(prepare: Any, said: Sequence[Utterance]) -> torch.Tensor:
    found: torch.Tensor = prepare(
        [one.clip.audio for one in said], sampling_rate=16000, padding="max_length", truncation=True,
        max_length=int(16000 * SECONDS), return_tensors="pt",
    )["input_features"]  # fmt: skip
    return found


def _writing(sound: SoundEncoder, said: Sequence[Utterance], steps: int, seed: int) -> tuple[Any, float]:
    from transformers import LlamaConfig, LlamaForCausalLM

    lm = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=BLOCKS, num_attention_heads=4,
            num_key_value_heads=4, vocab_size=len(SPECIAL) + len(WORDS), max_position_embeddings=512, pad_token_id=0,
            bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip
    spec = {
        "tasks": ["avsr"], "mode": "pool", "remainder": "keep", "share": False, "hidden": WIDTH, "norm": True,
        "missing": "refuse", "adapter": {"kind": "none"},
    }  # fmt: skip
    model = NestedSpeech(nested(audio=(RICH.audio or 1,), video=(RICH.video or 1,)), _parts(lm, sound), spec)
    heard, rng, losses = model.read([one.clip for one in said], batch_size=50), np.random.default_rng([seed, 2]), []
    for weight in lm.parameters():
        weight.requires_grad_(True)
    learnt = [*lm.parameters(), *model.projectors.parameters(), model.marks]
    optimizer = torch.optim.AdamW(learnt, 1e-3)
    for step in range(steps):
        _rate(optimizer, 2e-3, step, steps)
        rows = rng.integers(0, len(said), 16).tolist()
        loss = transcript_loss(model, heard.take(rows), [str(said[row].clip.text) for row in rows], RICH)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return lm.eval(), float(np.mean(losses[-20:]))


def _parts(lm: Any, sound: SoundEncoder) -> Parts:
    return Parts(lm, tokenizer(), sound, PixelFrames(8))


def _rate(optimizer: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = peak * min(1.0, (step + 1) / 50) * (1 - step / steps) + 1e-5
