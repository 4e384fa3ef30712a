"""
A folder in BEIR layout (Thakur et al. 2021): a corpus, queries, and judgements of which document answers which.

Documents and queries are texts, or lists of texts and pictures in a column parts or segments.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

from anysize.core.data.as_named import data_as_named
from anysize.core.data.data import Data
from anysize.core.data.files import rows
from anysize.core.data.files.digest import Digest
from anysize.core.data.files.media import Files
from anysize.core.data.files.rows import Row, short_list
from anysize.core.data.layouts import IDS, first_of
from anysize.core.data.records import Items, Judgements
from anysize.core.data.tables import about_texts, texts_of
from anysize.core.errors import DataError

SPLITS = ("train", "dev", "test")
COLUMNS = ("query-id", "corpus-id", "score")
CORPUS = ("corpus.jsonl", "docs.jsonl")
PARTS = ("parts", "segments")
"""Columns that hold lists of texts and pictures."""


def is_beir(folder: Path) -> bool:
    """Whether a folder holds a corpus, as one in BEIR layout does."""
    return _corpus(folder) is not None


def read_beir(folder: Path) -> Data:
    """``corpus.jsonl`` (or docs), ``queries.jsonl``, ``qrels/{train,dev,test}.tsv`` or ``qrels.tsv``, or ``.gz``."""
    digest = Digest("beir")
    corpus_file = _corpus(folder)
    if corpus_file is None:
        raise DataError(f"{folder} holds no corpus.jsonl; expected a folder in BEIR layout, or name one file of it")
    notes: list[str] = []
    corpus = _read_items(corpus_file, digest, notes)
    queries_file = _find(folder, "queries.jsonl")
    queries = None if queries_file is None else _read_items(queries_file, digest, notes)
    qrels: dict[str, Judgements] = {}
    _unread(folder, notes)
    for split in SPLITS:
        file = _find(folder / "qrels", f"{split}.tsv") or (_find(folder, "qrels.tsv") if split == "test" else None)
        if file is None:
            continue
        if queries is None:
            raise DataError(f"{file} judges queries, but {folder} holds no queries.jsonl")
        qrels[split] = _judgements(file, set(queries.ids), set(corpus.ids), digest, notes)
    return Data(folder.resolve().name, digest.hex(), corpus, queries, qrels, notes=tuple(notes))


def _read_items(file: Path, digest: Digest, notes: list[str]) -> Items:
    source = rows.rows_of(file)
    first = next(source, None)
    if first is None:
        raise DataError(f"{file} is empty; expected lines with _id and text")
    every = itertools.chain([first], source)
    column = first_of({name: name for name in first.values}, PARTS)
    if column is not None:
        return _read_parts(file, first, every, column, digest)
    items, _ = texts_of(every, digest)
    notes += [f"{file.name}: {note}" for note in about_texts(items.texts or [])]
    return items


def _read_parts(file: Path, first: Row, source: Iterator[Row], column: str, digest: Digest) -> Items:
    """Lists of texts and pictures, whose files lie beside `file`, and their ids."""
    named = first_of({name: name for name in first.values}, (*IDS, "query_id"))
    if named is None:
        raise DataError(f"{first.where} has no id; expected one in a column _id")
    of = (Row(row.where, {"_id": str(row.values.get(named)), "parts": row.values.get(column)}) for row in source)
    read = data_as_named(file.name, of, ["_id", "parts"], Files(file.parent), {"parts": "parts"})
    digest.add(first, read.fingerprint)
    assert read.corpus is not None
    return read.corpus


def _judgements(file: Path, queries: set[str], documents: set[str], digest: Digest, notes: list[str]) -> Judgements:
    """
    All grades of the queries that are there, also of documents that are not: those are still to be found.

    Where a document is judged twice for a query, the higher grade holds.
    """
    found: Judgements = {}
    rows_read = strange = absent = twice = 0
    for given in rows.rows_of(file):
        row = given
        if "doc-id" in given.values and "corpus-id" not in given.values:
            row = Row(given.where, {**given.values, "corpus-id": given.values["doc-id"]})
        rows_read += 1
        missing = [column for column in COLUMNS if column not in row.values]
        if missing:
            raise DataError(
                f"{file} has the columns {short_list(row.values)}; expected {', '.join(COLUMNS)} in its first line"
            )
        query, document, gain = _grade(row)
        digest.add(row, file.name.removesuffix(".gz"), query, document, repr(gain))
        if query not in queries:
            strange += 1
            continue
        absent += document not in documents
        row_of = found.setdefault(query, {})
        twice += document in row_of
        row_of[document] = max(gain, row_of.get(document, gain))
    if not any(document in documents for row_of in found.values() for document in row_of):
        why = (
            f"none of its {rows_read} judgements names a query and a document that are there" if rows_read else "empty"
        )
        raise DataError(f"{file}: {why}; expected ids of queries.jsonl and corpus.jsonl")
    of = f"of {rows_read} judgements in {file.name}"
    if strange:
        notes.append(f"{strange} {of} name an unknown query and are not used")
    if absent:
        notes.append(f"{absent} {of} name a document that is not in the corpus; relevant ones count as not found")
    if twice:
        notes.append(f"{twice} {of} judge a document again; the highest grade holds")
    nothing = sum(not any(gain > 0 for gain in row_of.values()) for row_of in found.values())
    if nothing:
        notes.append(
            f"{nothing} of {len(found)} queries judged in {file.name} have no relevant document; they score 0, as "
            "trec_eval has it"
        )
    return found


def _grade(row: Row) -> tuple[str, str, float]:
    query, document, score = (row.values[column] for column in COLUMNS)
    try:
        gain = float(score)
        if not math.isfinite(gain):
            raise ValueError
    except ValueError:
        raise DataError(f"{row.where}: the score {score!r} is not a number") from None
    return query, document, gain


def _unread(folder: Path, notes: list[str]) -> None:
    """Say which files of judgements have a name that is not read. Raises `DataError` if qrels is a file."""
    place = folder / "qrels"
    if place.is_file():
        raise DataError(
            f"{place} is a file; expected a folder with train.tsv, dev.tsv or test.tsv, or name it qrels.tsv"
        )
    known = {f"{split}.tsv{end}" for split in SPLITS for end in ("", ".gz")}
    others = sorted(path.name for path in place.glob("*") if path.is_file() and path.name not in known)
    if others:
        notes.append(f"{short_list(others)} in qrels is not read; expected {', '.join(f'{one}.tsv' for one in SPLITS)}")


def _corpus(folder: Path) -> Path | None:
    return next((file for name in CORPUS if (file := _find(folder, name)) is not None), None)


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
