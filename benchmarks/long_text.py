"""
Long inputs: the memory that they take, and what another base of the rotary positions does beyond the trained length.

    python -m benchmarks.long_text      # about ten minutes of one core

The encoder is a random one in the architecture of jina-embeddings-v3 (6 layers, 384 wide), since memory does not
depend on what weights say. Each length is encoded in a process of its own, which reports its peak.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from anysize.text import NestedEncoder, set_rope_base
from benchmarks.evidence import write_row

LENGTHS, ROWS = (512, 2048, 8192), 16
TRAINED_ON, READ_AT, THETAS = 64, (64, 128, 256, 512), (10_000.0, 20_000.0, 40_000.0)


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
        vocab_size=len(words), hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    JinaEmbeddingsV3Model(config).save_pretrained(str(folder))
    model = SentenceTransformer(modules=[Transformer(str(folder), max_seq_length=8192), Pooling(384)], device="cpu")
    model.save(str(folder / "encoder"), create_model_card=False)


def peak(folder: Path, length: int, rows: int) -> dict[str, float]:
    """Megabytes at the peak of encoding `rows` texts of this many tokens, above those of the loaded model."""
    script = (
        "import resource, sys; from benchmarks.long_text import encode; "
        f"print(*encode({str(folder / 'encoder')!r}, {length}, {rows}))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded, most, seconds = (float(word) for word in out.split())
    return {"MB above the model": most - loaded, "seconds": seconds}


def encode(folder: str, length: int, rows: int) -> tuple[float, float, float]:
    """Run in a process of its own: peak memory before and after encoding, and the processor time of it."""
    import time

    model = NestedEncoder.from_pretrained(folder, layers=(6,), dims=(384,))
    rng = np.random.default_rng(0)
    # Lengths differ a little, as they do in life, so that batches are padded.
    texts = [" ".join(map(str, rng.integers(0, 1000, length - 2 - row % 4))) for row in range(rows)]
    model.encode(["1 2 3"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin = time.process_time()
    model.encode(texts)
    spent = time.process_time() - begin
    return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, spent


def memory() -> None:
    """The row of memory."""
    with tempfile.TemporaryDirectory() as scratch:
        write_encoder(Path(scratch))
        found = {f"{rows} x {length}": peak(Path(scratch), length, rows) for length in LENGTHS for rows in (1, ROWS)}
    print(found)
    values = {unit: {case: one[unit] for case, one in found.items()} for unit in ("MB above the model", "seconds")}
    used = values["MB above the model"]
    many, one = used[f"{ROWS} x {LENGTHS[-1]}"], used[f"1 x {LENGTHS[-1]}"]
    write_row(
        "jina-long-input-memory",
        paper="jina-embeddings-v3, arXiv 2409.10173",
        claim=f"Encoding {ROWS} inputs of 8192 tokens takes no more than 1.5 times the memory of encoding one",
        reported="inputs to 8192 tokens; the paper gives no memory",
        arms=list(used),
        metric="MB of peak resident memory above the loaded model (6 layers, 384 wide, 12 heads, float32)",
        values=values,
        outcome="won" if many <= 1.5 * one else "lost",
        note=f"8192 tokens: {one:.0f} MB for one text, {many:.0f} MB for {ROWS} at once. "
        + ", ".join(f"{case}: {size:.0f} MB" for case, size in used.items())
        + ".",
        command="python -m benchmarks.long_text",
        data="random tokens",
    )


def passkey(rows: int, length: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a mark and a key somewhere, and a question at the end: (ids, keys)."""
    ids = torch.randint(20, 40, (rows, length), generator=generator)
    keys = torch.randint(4, 20, (rows,), generator=generator)
    places = torch.randint(0, length - 3, (rows,), generator=generator)
    ids[torch.arange(rows), places] = 2
    ids[torch.arange(rows), places + 1] = keys
    ids[:, -1] = 3
    return ids, keys


def retrieved(seed: int, steps: int = 2500) -> dict[float, dict[int, float]]:
    """Share of keys found, by base and length, of a small model trained at one length with the first base."""
    from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3ForMaskedLM

    torch.manual_seed(seed)
    config = JinaEmbeddingsV3Config(
        vocab_size=40, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
        rope_parameters={"rope_type": "default", "rope_theta": THETAS[0]},
    )  # fmt: skip
    model = JinaEmbeddingsV3ForMaskedLM(config)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps)
    for _ in range(steps):
        ids, keys = passkey(64, TRAINED_ON, generator)
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
            ids, keys = passkey(512, length, torch.Generator().manual_seed(1000 + seed))
            with torch.no_grad():
                guess = model(input_ids=ids).logits[:, -1].argmax(dim=-1)
            found[theta][length] = float((guess == keys).float().mean())
    return found


def bases(seeds: int) -> None:
    """The row of rotary bases."""
    runs = [retrieved(seed) for seed in range(seeds)]
    values = {
        f"theta={theta:g}": {f"length={length}": [run[theta][length] for run in runs] for length in READ_AT}
        for theta in THETAS
    }
    print(values)
    gains = [run[THETAS[1]][256] - run[THETAS[0]][256] for run in runs]
    write_row(
        "jina-rope-base",
        paper="jina-embeddings-v3, arXiv 2409.10173",
        claim="A model trained with rotary base 10,000 reads inputs four times as long better with 20,000, every seed",
        reported="trained with 10,000, served with 20,000; no comparison printed",
        arms=list(values),
        metric=f"share of keys found; 2 layers of 128, trained at {TRAINED_ON} tokens",
        values=values,
        outcome="won" if min(gains) > 0 else "lost" if max(gains) <= 0 else "mixed",
        note="20,000 minus 10,000 at 256 tokens: " + ", ".join(f"{gain:+.3f}" for gain in gains) + ".",
        command="python -m benchmarks.long_text",
        data="a key hidden in random tokens, asked for at the end; 512 texts a length",
    )


def main() -> None:
    """Both rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    memory()
    bases(args.seeds)


if __name__ == "__main__":
    main()
