"""
Does a chunk's vector find more when it has seen its document? Late chunking beside chunks embedded alone.

    python -m benchmarks.text.late_chunking --data DATA_DIR      # about eight minutes of one core

Nothing is trained, so there are no seeds; intervals are of a paired bootstrap over queries.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.data.read import read
from anysize.evaluation.nearest import rank
from anysize.evaluation.ranking import judge, ndcg
from anysize.text import NestedEncoder, by_sentences, by_tokens, late_chunks
from benchmarks.common import arguments
from benchmarks.evidence import write_row

MODEL, TOKENS, DEPTH = "all-MiniLM-L6-v2", 64, 400
Rank = Callable[[np.ndarray], np.ndarray]


def chunk_arms(model: NestedEncoder, texts: Sequence[str], chunker: Callable) -> tuple[dict, np.ndarray, list[list]]:
    """Vectors of all chunks by arm, which text each belongs to, and the spans."""
    spans = [chunker(text) for text in texts]
    home = np.repeat(np.arange(len(texts)), [len(own) for own in spans])
    alone = [text[start:end].strip() for text, own in zip(texts, spans, strict=True) for start, end in own]
    opening = by_sentences()
    heads = [text[: opening(text)[0][1]].strip() if text.strip() else "" for text in texts]
    begins = [start == 0 for own in spans for start, _ in own]
    headed = [part if first else f"{heads[row]} {part}" for part, row, first in zip(alone, home, begins, strict=True)]
    arms = {
        "late": np.concatenate(late_chunks(model, texts, spans)),
        "alone": model.encode(alone, progress=True),
        "alone, after the first sentence": model.encode(headed, progress=True),
    }
    return arms, home, spans


def documents_by_best_chunk(queries: np.ndarray, chunks: np.ndarray, home: np.ndarray, k: int = 10) -> np.ndarray:
    """(queries, k) documents in the order of their best chunk."""
    found, _ = rank(queries, chunks, k=min(DEPTH, len(chunks)))
    ranked = np.full((len(queries), k), -1)
    for row, places in enumerate(found):
        order = list(dict.fromkeys(int(document) for document in home[places]))[:k]
        ranked[row, : len(order)] = order
    return ranked


def judged_set(model: NestedEncoder, folder: Path) -> dict[str, np.ndarray]:
    """nDCG@10 per query and arm on a set with judgements of documents; a document scores as its best chunk."""
    data = read(folder)
    task = data.retrieval("test", held_out=False)
    assert task is not None
    texts = list(task.corpus.texts or [])
    queries = model.encode(list(task.queries.texts or []))
    arms, home, _ = chunk_arms(model, texts, by_tokens(model.encoder.tokenizer, TOKENS))
    ranked = {name: documents_by_best_chunk(queries, vectors, home) for name, vectors in arms.items()}
    ranked["whole document"] = rank(queries, model.encode(texts, progress=True), k=10)[0]
    return {
        name: ndcg(judge(found, task.queries.ids, task.corpus.ids, task.qrels), 10) for name, found in ranked.items()
    }


def answers(path: Path) -> tuple[list[str], list[str], list[tuple[int, str]]]:
    """Paragraphs, questions, and for each question its paragraph and the words of its answer there."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    questions, where = [], []
    for row, one in enumerate(rows):
        for question, answer in zip(one["sub_question"], one["sub_answer"], strict=True):
            words = answer.strip().rstrip(".")
            if len(re.findall(re.escape(words), one["answer"], flags=re.IGNORECASE)) == 1:
                questions.append(question)
                where.append((row, words))
    return [one["answer"] for one in rows], questions, where


def answering_sentences(model: NestedEncoder, path: Path) -> dict[str, np.ndarray]:
    """nDCG@10 per question and arm: which sentence, of all in all paragraphs, holds the answer."""
    texts, questions, where = answers(path)
    arms, _, spans = chunk_arms(model, texts, by_sentences())
    first = np.concatenate([[0], np.cumsum([len(own) for own in spans])])
    right = []
    for row, words in where:
        answer = re.search(re.escape(words), texts[row], flags=re.IGNORECASE)
        assert answer is not None, f"the answer {words!r} does not stand in its text"
        place = answer.start()
        inside = next(number for number, (start, end) in enumerate(spans[row]) if start <= place < end)
        right.append(int(first[row]) + inside)
    queries = model.encode(questions)
    found: dict[str, np.ndarray] = {}
    for name, vectors in arms.items():
        ranked, _ = rank(queries, vectors, k=10)
        hit = ranked == np.array(right)[:, None]
        found[name] = (hit / np.log2(np.arange(2, 12))).sum(axis=1)
    return found


def gain(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Mean difference over queries, and its 95 % interval by a paired bootstrap."""
    rows = np.random.default_rng(0).integers(0, len(one), (2000, len(one)))
    drawn = (one - other)[rows].mean(axis=1)
    return float((one - other).mean()), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def main() -> None:
    """Every set, one row."""
    parser = arguments(__doc__, "data")
    data = parser.parse_args().data
    model = NestedEncoder.from_pretrained(MODEL, layers=(6,), dims=(384,))
    sets = {
        "questions about people": answering_sentences(model, data / "knowledge_editing" / "unke.jsonl.gz"),
        "cranfield": judged_set(model, data / "cranfield"),
        "cisi": judged_set(model, data / "cisi"),
    }
    values, notes, signs = {}, [], []
    for name, arms in sets.items():
        values[name] = {arm: float(scores.mean()) for arm, scores in arms.items()}
        mean, low, high = gain(arms["late"], arms["alone"])
        headed, *bounds = gain(arms["late"], arms["alone, after the first sentence"])
        signs.append(1 if low > 0 else -1 if high < 0 else 0)
        notes.append(
            f"{name}: late minus alone {mean:+.3f} (95 % {low:+.3f} to {high:+.3f}), minus chunks that repeat the "
            f"first sentence {headed:+.3f} ({bounds[0]:+.3f} to {bounds[1]:+.3f})"
        )
        print(name, values[name], notes[-1], flush=True)
    verdicts: dict[tuple[int, int], Any] = {(1, 1): "won", (0, 0): "tied", (-1, -1): "lost"}
    write_row(
        "jina-late-chunking",
        paper="jina-embeddings-v3, arXiv 2409.10173; Late Chunking, arXiv 2409.04701",
        claim="Chunks pooled after the whole document was read find more than the same chunks embedded alone",
        reported="jina-v2-small, nDCG@10, alone to late: SciFact .642 to .661, NFCorpus .235 to .300",
        arms=list(sets["cranfield"]),
        metric="ndcg@10",
        values=values,
        outcome=verdicts.get((min(signs), max(signs)), "mixed"),
        note="; ".join(notes) + ".",
        command="python -m benchmarks.text.late_chunking --data DATA_DIR",
        data=f"UnKE: 900 paragraphs, {len(sets['questions about people']['late'])} questions whose answer stands in "
        f"one sentence, which is to be found; Cranfield and CISI: chunks of {TOKENS} tokens, documents by their best",
    )


if __name__ == "__main__":
    main()
