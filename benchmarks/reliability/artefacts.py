"""Small real artefacts of every kind, each made by the verb that makes it, once per scratch folder."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.harness import command, taught

WIDTH = 16
WORDS = [a + b for a in ("ba", "de", "fi", "go", "hu", "ka", "lo", "mi") for b in ("lan", "mer", "nis", "por", "quo")]


@dataclass(frozen=True)
class Scratch:
    """A folder with all artefacts by name; `base` is a sentence encoder, `lm` a language model, `data` the data."""

    root: Path

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def __post_init__(self) -> None:
        for name, make in _MAKERS.items():
            if not (self.root / name).exists():
                done = taught(partial(make, self.root), limit=300)
                if not (self.root / name).exists():
                    raise RuntimeError(f"{name} could not be made:\n{done.err}")


def _texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) for _ in range(6)) for _ in range(count)]


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _data(root: Path) -> None:
    made = root / "data.making"
    made.mkdir(parents=True)
    texts, rng = _texts(60, 0), np.random.default_rng(0)
    pairs = [{"anchor": text, "positive": " ".join(text.split()[:3] + text.split()[:2])} for text in texts]
    _lines(made / "pairs.jsonl", pairs)
    _lines(made / "texts.jsonl", [{"text": text} for text in texts])
    _lines(made / "more.jsonl", [{"text": text} for text in _texts(9, 1)])
    _lines(made / "scored.jsonl", [{"sentence1": a, "sentence2": b, "score": n % 5}
                                   for n, (a, b) in enumerate(zip(texts, _texts(60, 2), strict=True))])  # fmt: skip
    _lines(made / "labelled.jsonl", [{"text": text, "label": text.split()[0]} for text in texts])
    (made / "plain.csv").write_text("anchor,positive\n" + "".join(f"{p['anchor']},{p['positive']}\n" for p in pairs))
    beir = made / "beir"
    (beir / "qrels").mkdir(parents=True)
    _lines(beir / "corpus.jsonl", [{"_id": f"d{n}", "title": "", "text": p["positive"]} for n, p in enumerate(pairs)])
    _lines(beir / "queries.jsonl", [{"_id": f"q{n}", "text": p["anchor"]} for n, p in enumerate(pairs)])
    for split in ("train", "test"):
        rows = range(30) if split == "train" else range(30, 60)
        lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in rows)]
        (beir / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    vectors = rng.standard_normal((400, WIDTH), np.float32) * (1 + np.arange(WIDTH))[::-1]
    np.save(made / "vectors.npy", vectors.astype(np.float32))
    np.save(made / "more.npy", rng.standard_normal((30, WIDTH), np.float32))
    np.save(made / "many.npy", rng.standard_normal((4500, WIDTH), np.float32))
    np.save(made / "query.npy", np.ones(WIDTH, np.float32))
    from safetensors.numpy import save_file

    save_file({"vectors": vectors[:50].astype(np.float32)}, made / "vectors.safetensors")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(pairs), made / "pairs.parquet")
    made.rename(root / "data")


def _base(root: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    bert = root / "bert"
    shutil.rmtree(bert, ignore_errors=True)
    bert.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (bert / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizer(str(bert / "vocab.txt")).save_pretrained(str(bert))
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(vocabulary), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=32, initializer_range=0.3)  # fmt: skip
    BertModel(config).eval().save_pretrained(str(bert))
    whole = SentenceTransformer(modules=[Transformer(str(bert), max_seq_length=16), Pooling(WIDTH)], device="cpu")
    whole.save(str(root / "base"), create_model_card=False)


def _lm(root: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(words), hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32,
                         tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)  # fmt: skip
    LlamaForCausalLM(config).eval().save_pretrained(str(root / "lm"))
    fast.save_pretrained(str(root / "lm"))


FITS: dict[str, str] = {
    "head": "@data/pairs.jsonl --model @base --dims 4,8,16 --epochs 1",
    "projection": "@data/vectors.npy --dims 4,8,16 --epochs 1",
    "layered": "@data/pairs.jsonl --method 2dmse --model @base --dims 8,16 --batch-size 16",
    "tasks": "none --method tasks --model @base --dims 8,16 --batch-size 8 --steps 4 "
             "--task retrieval=@data/pairs.jsonl --task text-matching=@data/scored.jsonl",
    "quantized": "@data/pairs.jsonl --method matquant --model @base --batch-size 16",
    "quantized-lm": "@data/texts.jsonl --method matquant --model @lm --batch-size 8 --max-length 16",
    "classifier": "@data/labelled.jsonl --method mrl-classifier --model @head --epochs 2",
    "sae": "@data/vectors.npy --method topk --latents 32 --active 4 --steps 20 --batch-size 64",
    "batchtopk": "@data/vectors.npy --method batchtopk --latents 32 --active 4 --steps 20 --batch-size 64",
    "csr": "@data/vectors.npy --method csr --latents 32 --active 2,4 --steps 20 --batch-size 64",
}  # fmt: skip
"""What `fit` makes: name -> its words, where @ stands for the scratch folder."""

OTHERS: dict[str, str] = {
    "cut-head": "cut @head --size dims=8",
    "cut-layered": "cut @layered --size layers=1,dims=8",
    "saelens": "cut @sae --size latents=32 --format saelens",
    "index-texts": "index @head @data/texts.jsonl",
    "index-vectors": "index - @data/vectors.npy --dims 4,8,16 --block 4",
    "index-codes": "index - @data/many.npy --dims 8,16 --block 8 --hnsw",
    "index-sparse": "index @csr @data/vectors.npy",
}


def words_of(root: Path, line: str) -> list[str]:
    """The words of a line, where @ stands for the scratch folder."""
    return [word.replace("@", f"{root}/") for word in line.split()]


def _fit(name: str) -> Callable[[Path], None]:
    return lambda root: command("fit", *words_of(root, FITS[name]), "--out", root / name)()


def _other(name: str) -> Callable[[Path], None]:
    return lambda root: command(*words_of(root, OTHERS[name]), "--out", root / name)()


def _dictionary(root: Path) -> None:
    import torch

    torch.manual_seed(0)
    w = torch.randn(32, WIDTH)
    state = {"encoder.weight": w, "encoder.bias": torch.randn(32) / 4, "decoder.weight": w.T.contiguous(),
             "b_dec": torch.zeros(WIDTH), "k": torch.tensor(4), "threshold": torch.tensor(0.5)}  # fmt: skip
    folder = root / "dictionary.making"
    folder.mkdir()
    torch.save(state, folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": {"dict_class": "BatchTopKSAE"}}))
    folder.rename(root / "dictionary")


def _sparsify(root: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder = root / "sparsify.making"
    folder.mkdir()
    w = torch.randn(32, WIDTH)
    state = {"encoder.weight": w, "encoder.bias": torch.zeros(32), "W_dec": w.clone(), "b_dec": torch.zeros(WIDTH)}
    save_file(state, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"activation": "topk", "k": 4, "signed": False}))
    folder.rename(root / "sparsify")


def _deletions(root: Path) -> None:
    from anysize.search import Index

    shutil.copytree(root / "index-texts", root / "deletions.making")
    index = Index.open(root / "deletions.making")
    index.add(_texts(9, 1))
    index.delete(["3", "61"])
    (root / "deletions.making").rename(root / "index-deletions")


def _frontier(root: Path) -> None:
    command("measure", root / "head", root / "data" / "pairs.jsonl", "--arms", "truncate", "--json",
            root / "frontier.json")()  # fmt: skip


_MAKERS: dict[str, Callable[[Path], None]] = {
    "data": _data, "base": _base, "lm": _lm, **{name: _fit(name) for name in FITS}, "dictionary": _dictionary,
    "sparsify": _sparsify, **{name: _other(name) for name in OTHERS}, "index-deletions": _deletions,
    "frontier.json": _frontier,
}  # fmt: skip
