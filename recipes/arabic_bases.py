"""
Small bases made on the spot: static encoders (the mean of trained token vectors) with a vocabulary of their own.

`bilingual` is made as multilingual sentence encoders are (Reimers and Gurevych 2020, arXiv 2004.09813): a teacher
embeds English sentences, and the student learns to give both them and their translations the teacher's vectors.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from anysize.backbones.sentence import Encoder, supports_bf16
from anysize.core.training.trainer import TrainingPlan, train
from recipes.arabic_data import Corpus

TEACHER = "all-MiniLM-L6-v2"
VOCABULARY, WIDTH = 4000, 512


def maker(
    base: str, source: str | None, corpus: Corpus, seed: int, teacher: Encoder
) -> Callable[[], SentenceTransformer]:
    """A function that gives a fresh copy of a base; `source` is the folder or hub name of the one that is given."""
    if base == "given":
        whole = Encoder(str(source)).model
    elif base == "english":
        whole = Encoder(TEACHER).model
    elif base == "scratch":
        whole = scratch(corpus, seed)
    else:
        whole = bilingual(corpus, seed, teacher)
    return lambda: copy.deepcopy(whole)


def scratch(corpus: Corpus, seed: int) -> SentenceTransformer:
    """Arabic alone and nothing learnt yet: a random vector for each piece of a word."""
    return static([text for text, _ in corpus.parallel] + corpus.unlabelled, WIDTH, seed)


def bilingual(corpus: Corpus, seed: int, teacher: Encoder, epochs: int = 20) -> SentenceTransformer:
    """Arabic and English in the teacher's space."""
    arabic, english = (list(side) for side in zip(*corpus.parallel, strict=True))
    targets = teacher.encode(english, progress=True, bf16=supports_bf16())
    model = static([*arabic, *english], targets.shape[1], seed)
    words: Any = model[0]
    torch.nn.init.normal_(words.embedding.weight, std=0.05)
    plan = TrainingPlan(epochs=epochs, batch_size=256, learning_rate=0.01, seed=seed, checkpoints=1)
    student, rows = Student(model), Translations([*arabic, *english], np.concatenate([targets, targets]))
    with tempfile.TemporaryDirectory() as scratch_folder:
        train(student, rows, plan, Path(scratch_folder), resume=False, collate=student.collate)
    return model.eval()


def static(texts: Sequence[str], width: int, seed: int) -> SentenceTransformer:
    """A static encoder of random vectors over a unigram vocabulary of these texts."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY, unk_token="[UNK]", special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(sorted(set(texts)), trainer)
    torch.manual_seed(seed)
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=width)], device="cpu")


class Translations(torch.utils.data.Dataset):
    """Texts with the vectors (n, d) that they should have."""

    def __init__(self, texts: list[str], targets: np.ndarray) -> None:
        self.texts, self.targets = texts, torch.from_numpy(targets)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"text": self.texts[row], "target": self.targets[row]}


class Student(torch.nn.Module):
    """Squared distance from the teacher's vectors."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.model = model

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch of token numbers and targets."""
        inputs = self.model.preprocess([row["text"] for row in rows])
        return {**inputs, "target": torch.stack([row["target"] for row in rows])}

    def forward(self, target: torch.Tensor, **inputs: Any) -> dict[str, torch.Tensor]:
        """Targets of shape (n, d)."""
        found = self.model(inputs)["sentence_embedding"]
        return {"loss": (found - target).square().sum(dim=-1).mean()}
