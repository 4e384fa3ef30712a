"""A tiny sentence encoder made on the spot, and data with a spectrum, so that no test needs a network."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Sums differ with the number of threads, and a run that is killed in one process continues in another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import json
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# What was checked before is remembered in the user's cache; the tests, and what they start, have one of their own.
_CACHE = tempfile.TemporaryDirectory(prefix="anysize-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name
# Tests count what an encoder is asked for, which must not depend on what other tests asked for.
os.environ["ANYSIZE_CACHE_MB"] = "0"

# A job in the background inherits that Ctrl-C is ignored, and there are tests of what Ctrl-C does.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example may take depends on what else the machine does.
settings.register_profile("anysize", deadline=None)
settings.load_profile("anysize")

_seen = 0  # modules when what they hold was last put aside


@pytest.fixture(autouse=True)
def libraries_put_aside() -> None:
    """
    The trainer collects garbage three times a training: with torch and transformers loaded, four fifths of the time.

    What libraries hold stays for good, so that nobody need look through it again.
    """
    global _seen
    if len(sys.modules) > _seen + 200:
        gc.collect()
        gc.freeze()
        _seen = len(sys.modules)


WORDS = [a + b for a in ("ba", "de", "fi", "go", "hu", "ka", "lo", "mi", "nu", "po") for b in
         ("lan", "mer", "nis", "por", "quo", "ran", "sel", "tam", "vor", "wis", "zet", "cul", "dor", "fen", "gar",
          "hol", "jin", "kes", "lum", "mox")]  # fmt: skip
WIDTH = 32


def sentence(rng: random.Random, words: int = 6) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [sentence(rng) for _ in range(count)]


def write_pairs(path: Path, count: int = 60, seed: int = 0) -> Path:
    """Pairs whose positive repeats half of its anchor's words."""
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            anchor = sentence(rng)
            positive = " ".join(anchor.split()[:3]) + " " + sentence(rng, 3)
            file.write(json.dumps({"anchor": anchor, "positive": positive}) + "\n")
    return path


def spread_vectors(count: int = 400, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Vectors whose meaning lies in the last coordinates: a prefix cut without learning keeps only noise."""
    rng = np.random.default_rng(seed)
    scales = np.full(width, 0.05, np.float32)
    scales[-8:] = 1.0
    return (rng.standard_normal((count, width)) * scales).astype(np.float32)


@pytest.fixture(scope="session")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of width 32 and two layers, as sentence-transformers saves it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    root = tmp_path_factory.mktemp("encoder")
    base = root / "bert"
    base.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (base / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast(str(base / "vocab.txt"))
    tokenizer.save_pretrained(str(base))
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    BertModel(config).eval().save_pretrained(str(base))
    torch.random.set_rng_state(state)
    transformer = Transformer(str(base), max_seq_length=32)
    model = SentenceTransformer(modules=[transformer, Pooling(WIDTH)], device="cpu")
    model.save(str(root / "tiny"), create_model_card=False)
    return root / "tiny"


@pytest.fixture(scope="session")
def lm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of width 32 and two layers, with a tokenizer of whole words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    root = tmp_path_factory.mktemp("lm")
    words = ["<unk>", "<s>", "</s>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(str(root))
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        initializer_range=0.3,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).eval().save_pretrained(str(root))
    torch.random.set_rng_state(state)
    return root


@pytest.fixture
def encoder(encoder_path: Path):
    from anysize.backbones.sentence import Encoder

    return Encoder(str(encoder_path))


@dataclass(frozen=True)
class Said:
    """What a command line gave back."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    def refused(self, *words: str) -> None:
        """Exit status 2 and one sentence that holds these words, after notes on the data if there are any."""
        assert self.status == 2, self
        assert self.out == "", self
        said = "".join(line for line in self.err.splitlines(True) if not line.startswith("note: "))
        assert said.startswith("anysize: "), self.err
        assert said.count("\n") == 1, self.err
        assert said.endswith("\n")
        for word in words:
            assert word in said, self.err


@pytest.fixture
def anysize(capsys: pytest.CaptureFixture[str]):
    """Run a command line in this process."""
    from anysize.cli.main import run

    def command(*words) -> Said:
        capsys.readouterr()
        try:
            status = run([str(word) for word in words])
        except SystemExit as left:
            status = int(left.code or 0)
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return command


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flips(path: Path, count: int = 40) -> Iterator[int]:
    """Flip a bit of one byte of a file, at each of so many places all over it in turn; the file is whole afterwards."""
    whole = path.read_bytes()
    for place in np.unique(np.linspace(0, len(whole) - 1, count).astype(int)).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        yield place
    path.write_bytes(whole)


def neighbour_overlap(reference: np.ndarray, other: np.ndarray, k: int = 10) -> float:
    """The mean share of each row's k nearest rows by cosine that `other`, row by row the same items, has too."""

    def nearest(vectors: np.ndarray) -> list[set[int]]:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        orders = np.argsort(-(unit @ unit.T), axis=1, kind="stable")
        return [set([row for row in order.tolist() if row != own][:k]) for own, order in enumerate(orders)]

    return float(np.mean([len(one & two) / k for one, two in zip(nearest(reference), nearest(other), strict=True)]))


def undigested(folder: Path) -> Path:
    """Make a saved model one whose manifest can be changed: as it was saved before files were recorded."""
    manifest = json.loads((folder / "anysize.json").read_text("utf-8"))
    later = ("sha256", "files", "header", "facts")
    kept = {name: value for name, value in manifest.items() if name not in later}
    (folder / "anysize.json").write_text(json.dumps({**kept, "format": 1}), encoding="utf-8")
    return folder
