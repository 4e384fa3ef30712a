"""
Long inputs: the memory that they take, and what another base of the rotary positions does beyond the trained length.

    python -m benchmarks.text.long_text      # about four minutes of one core

The encoder is a random one in the architecture of jina-embeddings-v3 (2 layers, 384 wide): memory depends neither on
what weights say nor, without a gradient, on how many layers there are. Each length is encoded in a process of its own,
which reports its peak.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from anysize.text import Encoder, NestedEncoder, set_rope_base
from benchmarks.common import arguments
from benchmarks.evidence import write_row

LONGEST, LAYERS = 8192, 2
CASES = ((512, 1), (512, 12), (2048, 1), (2048, 12), (LONGEST, 1), (LONGEST, 4), (LONGEST, 12))
TRAINED_ON, READ_AT, THETAS, MARKS = 64, (64, 128, 256, 512), (10_000.0, 20_000.0, 40_000.0), 3
PEER = f"sentence-transformers, 4 x {LONGEST}"


def write_encoder(folder: Path) -> None:
    """A random encoder for 8192 tokens, and its tokenizer of one word a token."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3Model, PreTrainedTokenizerFast

    words = {word: place for place, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *map(str, range(1000))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=8192, **marks).save_pretrained(str(folder))
    config = JinaEmbeddingsV3Config(
        vocab_size=len(words), hidden_size=384, num_hidden_layers=LAYERS, num_attention_heads=12, intermediate_size=1536
    )
    JinaEmbeddingsV3Model(config).save_pretrained(str(folder))
    model = SentenceTransformer(modules=[Transformer(str(folder), max_seq_length=8192), Pooling(384)], device="cpu")
    model.save(str(folder / "encoder"), create_model_card=False)


def peak(folder: Path, length: int, rows: int, *, plain: bool = False) -> dict[str, float]:
    """Megabytes at the peak of encoding `rows` texts of this many tokens, above those of the loaded model."""
    arguments = f"{str(folder / 'encoder')!r}, {length}, {rows}, {plain}"
    script = f"from benchmarks.text.long_text import encode; print(*encode({arguments}))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded, most, seconds = (float(word) for word in out.split())
    return {"MB above the model": most - loaded, "seconds": seconds}


def encode(folder: str, length: int, rows: int, plain: bool) -> tuple[float, float, float]:
    """Run in a process of its own: peak memory before and after encoding, and the processor time of it."""
    model = NestedEncoder.from_pretrained(folder, layers=(LAYERS,), dims=(384,))
    other = Encoder(folder).model if plain else None
    rng = np.random.default_rng(0)
    # Lengths differ a little, as they do in life, so that batches are padded.
    texts = [" ".join(map(str, rng.integers(0, 1000, length - 2 - row % 4))) for row in range(rows)]
    run = model.encode if other is None else partial(other.encode, batch_size=rows, show_progress_bar=False)
    run(["1 2 3"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin = time.process_time()
    run(texts)
    return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time() - begin


def memory() -> None:
    """The row of memory."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_encoder(folder)
        found = {f"{rows} x {length}": peak(folder, length, rows) for length, rows in CASES}
        found[PEER] = peak(folder, LONGEST, 4, plain=True)
    print(found)
    values = {unit: {case: one[unit] for case, one in found.items()} for unit in ("MB above the model", "seconds")}
    used = values["MB above the model"]
    few, many = used[f"4 x {LONGEST}"], used[f"12 x {LONGEST}"]
    write_row(
        "jina-long-input-memory",
        paper="jina-embeddings-v3, arXiv 2409.10173",
        claim=f"Memory does not grow with the number of long inputs: 12 of {LONGEST} tokens take at most 1.2 times as "
        "much as 4",
        reported="inputs to 8192 tokens; the paper gives no memory",
        arms=list(used),
        metric=f"MB of peak resident memory above the loaded model ({LAYERS} layers, 384 wide, 12 heads, float32)",
        values=values,
        outcome="won" if many <= 1.2 * few else "lost",
        note=f"{few:.0f} MB for 4 texts of {LONGEST} tokens, {many:.0f} MB for 12; sentence-transformers takes "
        f"{used[PEER]:.0f} MB for 4 in one batch. "
        + ", ".join(f"{case}: {size:.0f} MB" for case, size in used.items() if case != PEER)
        + ".",
        command="python -m benchmarks.text.long_text",
        data="random tokens",
    )


def first_key(rows: int, length: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with three marks, a key after each, and a question at the end for the key of the first: (ids, keys)."""
    ids = torch.randint(20, 40, (rows, length), generator=generator)
    places = 2 * torch.rand(rows, (length - 1) // 2, generator=generator).argsort(dim=1)[:, :MARKS].sort(dim=1).values
    keys = torch.randint(4, 20, (rows, MARKS), generator=generator)
    ids.scatter_(1, places, torch.full_like(places, 2))
    ids.scatter_(1, places + 1, keys)
    ids[:, -1] = 3
    return ids, keys[:, 0]


def found_keys(seed: int, steps: int = 1200) -> dict[float, dict[int, float]]:
    """Share of right keys, by base and length, of a small model trained at one length with the first base."""
    from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3ForMaskedLM

    torch.manual_seed(seed)
    config = JinaEmbeddingsV3Config(
        vocab_size=40, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        rope_parameters={"rope_type": "default", "rope_theta": THETAS[0]},
    )  # fmt: skip
    model = JinaEmbeddingsV3ForMaskedLM(config)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in range(steps):
        ids, keys = first_key(32, TRAINED_ON, generator)
        loss = torch.nn.functional.cross_entropy(model(input_ids=ids).logits[:, -1], keys)
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
    found: dict[float, dict[int, float]] = {}
    for theta in THETAS:
        set_rope_base(model, theta)
        found[theta] = {}
        for length in READ_AT:
            ids, keys = first_key(512, length, torch.Generator().manual_seed(1000 + seed))
            with torch.no_grad():
                guess = model(input_ids=ids).logits[:, -1].argmax(dim=-1)
            found[theta][length] = float((guess == keys).float().mean())
    return found


def bases(seeds: int) -> None:
    """The row of rotary bases."""
    runs = [found_keys(seed) for seed in range(seeds)]
    values = {
        f"theta={theta:g}": {f"length={length}": [run[theta][length] for run in runs] for length in READ_AT}
        for theta in THETAS
    }
    print(values)
    twice = 2 * TRAINED_ON
    gains = [run[THETAS[1]][twice] - run[THETAS[0]][twice] for run in runs]
    kept = [run[THETAS[1]][TRAINED_ON] for run in runs]
    means = [
        f"{theta:g}: " + ", ".join(f"{statistics.fmean(run[theta][length] for run in runs):.2f}" for length in READ_AT)
        for theta in THETAS
    ]
    write_row(
        "jina-rope-base",
        paper="jina-embeddings-v3, arXiv 2409.10173",
        claim="A model trained with rotary base 10,000 reads inputs twice as long better with 20,000, on every seed, "
        "and those of the trained length as well",
        reported="trained with 10,000, served with 20,000; no comparison printed",
        arms=list(values),
        metric=f"share of right keys; 2 layers of 64, trained at {TRAINED_ON} tokens (one key in three by chance)",
        values=values,
        outcome="won" if min(gains) > 0 and min(kept) > 0.99 else "lost" if max(gains) <= 0 else "mixed",
        note=f"20,000 minus 10,000 at {twice} tokens: {', '.join(f'{gain:+.3f}' for gain in gains)}. Mean shares at "
        f"{', '.join(map(str, READ_AT))} tokens: {'; '.join(means)}.",
        command="python -m benchmarks.text.long_text",
        data="three keys hidden in random tokens, the first asked for at the end; 512 texts a length",
    )


def main() -> None:
    """Both rows."""
    parser = arguments(__doc__, seeds=3)
    args = parser.parse_args()
    memory()
    bases(args.seeds)


if __name__ == "__main__":
    main()
