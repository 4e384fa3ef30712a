"""A folder in BEIR layout (Thakur et al. 2021): a corpus, queries, and judgements of which document answers which."""

from __future__ import annotations

import math
from pathlib import Path

from anysize.core.data import rows
from anysize.core.data.data import Data
from anysize.core.data.records import Items, Judgements
from anysize.core.data.tables import Digest, texts_of
from anysize.core.errors import DataError


def read_beir(folder: Path) -> Data:
    """``corpus.jsonl``, ``queries.jsonl``, ``qrels/{train,dev,test}.tsv`` or ``qrels.tsv``, each plain or ``.gz``."""
    digest = Digest("beir")
    corpus_file = _find(folder, "corpus.jsonl")
    if corpus_file is None:
        raise DataError(f"{folder} holds no corpus.jsonl; expected a folder in BEIR layout, or name one file of it")
    corpus = _read_texts(corpus_file, digest)
    queries_file = _find(folder, "queries.jsonl")
    queries = None if queries_file is None else _read_texts(queries_file, digest)
    qrels: dict[str, Judgements] = {}
    notes: list[str] = []
    for split in ("train", "dev", "test"):
        file = _find(folder / "qrels", f"{split}.tsv") or (_find(folder, "qrels.tsv") if split == "test" else None)
        if file is None:
            continue
        if queries is None:
            raise DataError(f"{file} judges queries, but {folder} holds no queries.jsonl")
        qrels[split] = _judgements(file, set(queries.ids), set(corpus.ids), digest, notes)
    return Data(folder.resolve().name, digest.hex(), corpus, queries, qrels, notes=tuple(notes))


def _read_texts(file: Path, digest: Digest) -> Items:
    items, _ = texts_of(rows.rows_of(file), digest)
    if not items.ids:
        raise DataError(f"{file} is empty; expected lines with _id and text")
    return items


def _judgements(file: Path, queries: set[str], documents: set[str], digest: Digest, notes: list[str]) -> Judgements:
    found: Judgements = {}
    rows_read = unknown = 0
    for row in rows.rows_of(file):
        rows_read += 1
        missing = [column for column in ("query-id", "corpus-id", "score") if column not in row.values]
        if missing:
            raise DataError(
                f"{file} has the columns {', '.join(row.values)}; expected query-id, corpus-id, score in its first line"
            )
        query, document, score = row.values["query-id"], row.values["corpus-id"], row.values["score"]
        try:
            gain = float(score)
            if not math.isfinite(gain):
                raise ValueError
        except ValueError:
            raise DataError(f"{row.where}: the score {score!r} is not a number") from None
        digest.add(row, file.name.removesuffix(".gz"), query, document, repr(gain))
        if query not in queries or document not in documents:
            unknown += 1
            continue
        row_of = found.setdefault(query, {})
        row_of[document] = max(gain, row_of.get(document, gain))
    if not found:
        why = (
            f"none of its {rows_read} judgements names a query and a document that are there" if rows_read else "empty"
        )
        raise DataError(f"{file}: {why}; expected ids of queries.jsonl and corpus.jsonl")
    if unknown:
        notes.append(f"{unknown} of {rows_read} judgements in {file.name} name an unknown query or document")
    return found


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
