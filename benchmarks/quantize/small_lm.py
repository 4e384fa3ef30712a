"""
A small language model of the Llama architecture, trained here from nothing on novels and WikiText.

    python -m benchmarks.quantize.small_lm --data DATA_DIR --cache CACHE      # about an hour of one free core

What is learnt is kept in --cache every 100 steps, so that a stopped run continues with the same batches.
"""

from __future__ import annotations

import gzip
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn
from torch.nn import functional

from anysize.backbones.sentence import supports_bf16
from anysize.core.errors import AnysizeError
from anysize.core.files import write_bytes, write_json
from benchmarks.common import arguments

VOCABULARY, WIDTH, DEPTH, INNER, HEADS = 2048, 256, 4, 688, 4
LENGTH, BATCH, STEPS, RATE, WARMUP = 128, 16, 5000, 2e-3, 200
BLOCK = 20_000
"""Books are cut into blocks of so many characters; of 20 in a row, one is for choosing and one for measuring."""


@dataclass(frozen=True)
class Corpus:
    """Tokens, int64. `train` is one row of all text, the others are windows (n, LENGTH + 1) that do not overlap."""

    train: torch.Tensor
    valid: torch.Tensor
    test: torch.Tensor
    """Blocks of the books and WikiText that training did not see, half and half."""
    other: torch.Tensor
    """Shakespeare: a text of another kind."""


def blocks(folder: Path) -> dict[str, list[str]]:
    """The texts of every part: blocks of the novels, and WikiText to train on."""
    parts: dict[str, list[str]] = {"train": _cut(_read(folder / "lm_wikitext2/valid.txt.gz")), "valid": [], "test": []}
    for book in sorted((folder / "lm_books").glob("*.txt.gz")):
        for place, text in enumerate(_cut(_read(book))):
            parts[{5: "valid", 15: "test"}.get(place % 20, "train")].append(text)
    return parts


def corpus(folder: Path, cache: Path) -> Corpus:
    """The texts as tokens of a vocabulary learnt from the training part, which is kept in `cache`."""
    from tokenizers import Tokenizer

    parts = blocks(folder)
    file = cache / "tokenizer.json"
    if not file.exists():
        write_bytes(file, _learn_vocabulary(parts["train"]).encode())
    tokenizer = Tokenizer.from_file(str(file))

    def tokens(text: str) -> torch.Tensor:
        return torch.tensor(tokenizer.encode(text).ids)

    def windows(texts: list[str], count: int) -> torch.Tensor:
        joined = torch.cat([tokens(text) for text in texts])
        return joined[: len(joined) // (LENGTH + 1) * (LENGTH + 1)].view(-1, LENGTH + 1)[:count]

    test = [windows(parts["test"], 64), windows([_read(folder / "lm_wikitext2/test.txt.gz")[:200_000]], 64)]
    return Corpus(
        train=torch.cat([tokens(text) for text in parts["train"]]),
        valid=windows(parts["valid"], 64),
        test=torch.cat(test),
        other=windows([_read(folder / "lm_tinyshakespeare/input.txt.gz")[:100_000]], 48),
    )


def _cut(text: str) -> list[str]:
    return [text[start : start + BLOCK] for start in range(0, len(text), BLOCK)]


def _read(file: Path) -> str:
    return gzip.decompress(file.read_bytes()).decode("utf-8")


def _learn_vocabulary(texts: list[str]) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    )
    found: str = tokenizer.to_str()
    return found


def empty() -> nn.Module:
    """The model before training."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def as_pretrained(cache: Path) -> Path:
    """The model as pre-training left it, in a folder as Hugging Face's libraries read it."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    folder = cache / "float"
    if not (folder / "config.json").exists():
        model: Any = empty()
        model.load_state_dict(load_file(cache / "pretrained.safetensors"), strict=False)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(cache / "tokenizer.json")))
        tokenizer.save_pretrained(str(folder))
        model.save_pretrained(str(folder))
    return folder


def batch(tokens: torch.Tensor, size: int, seed: int, step: int) -> torch.Tensor:
    """Windows (size, LENGTH + 1) at random places, the same for every caller with this seed and step."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step)
    starts = torch.randint(len(tokens) - LENGTH - 1, (size,), generator=generator)
    return tokens[starts[:, None] + torch.arange(LENGTH + 1)]


def logits(model: nn.Module, windows: torch.Tensor, *, bf16: bool = False) -> torch.Tensor:
    """Windows (n, t + 1) -> logits (n, t, vocabulary) of every next token."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found = model(windows[:, :-1], use_cache=False).logits
    return torch.as_tensor(found).float()


def cross_entropy(given: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Mean loss of the next token in nats."""
    return functional.cross_entropy(given.flatten(0, 1), windows[:, 1:].flatten())


@torch.no_grad()
def measure(model: nn.Module, windows: torch.Tensor) -> float:
    """Mean cross-entropy in nats per token over all windows, in float32."""
    found = [float(cross_entropy(logits(model, part), part)) * len(part) for part in windows.split(16)]
    return sum(found) / len(windows)


def pretrain(texts: Corpus, cache: Path, minutes: float, steps: int = STEPS) -> bool:
    """Train for `steps` or until the time is over; says whether it is done."""
    model = empty()
    weights = dict(model.named_parameters())
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    done, history = _restore(model, optimiser, cache, steps)
    model.train()
    until = time.monotonic() + 60 * minutes
    while done < steps:
        warm = min(1.0, (done + 1) / WARMUP)
        share = max(0.0, (done - WARMUP) / (steps - WARMUP))
        for group in optimiser.param_groups:
            group["lr"] = RATE * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        part = batch(texts.train, BATCH, 0, done)
        loss = cross_entropy(logits(model, part, bf16=supports_bf16()), part)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        done += 1
        if done % 100 == 0 or done == steps:
            if done % 500 == 0 or done == steps:
                history.append({"step": done, "train": float(loss.detach()), "valid": measure(model, texts.valid)})
                print(history[-1], flush=True)
            _keep(weights, optimiser, cache, {"steps": done, "of": steps, "history": history})
            if time.monotonic() > until:
                break
    return done == steps


def _keep(weights: dict[str, Any], optimiser: Any, cache: Path, progress: dict[str, Any]) -> None:
    state = {name: value.detach() for name, value in weights.items()}
    moments = {}
    for name, value in weights.items():
        kept = optimiser.state[value]
        moments.update({f"{name}:{key}": kept[key] for key in ("exp_avg", "exp_avg_sq")})
    write_bytes(cache / "pretrained.safetensors", save(state))
    write_bytes(cache / "moments.safetensors", save(moments))
    write_json(cache / "pretraining.json", progress)


def _restore(model: nn.Module, optimiser: Any, cache: Path, steps: int) -> tuple[int, list[Any]]:
    progress = cache / "pretraining.json"
    if not progress.exists():
        return 0, []
    said = json.loads(progress.read_text("utf-8"))
    if said["of"] != steps:
        raise AnysizeError(
            f"{cache} holds a model trained for {said['of']} steps; name another --cache, or those --steps"
        )
    moments = load_file(cache / "moments.safetensors")
    weights = load_file(cache / "pretrained.safetensors")
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(weights[name])
            kept = {key: moments[f"{name}:{key}"] for key in ("exp_avg", "exp_avg_sq")}
            optimiser.state[value] = {"step": torch.tensor(float(said["steps"])), **kept}
    return int(said["steps"]), list(said["history"])


def main() -> None:
    """Pre-train, or go on with it."""
    parser = arguments(__doc__, "data", "cache", steps=STEPS)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; a later run goes on")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    texts = corpus(args.data, args.cache)
    print({name: list(part.shape) for name, part in vars(texts).items()}, flush=True)
    print("done" if pretrain(texts, args.cache, args.minutes, args.steps) else "to be continued", flush=True)


if __name__ == "__main__":
    main()
