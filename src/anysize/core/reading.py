"""One reader for every kind of source: a folder in BEIR layout, a file of rows or vectors, a `datasets` name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from anysize.core import rows, vectors
from anysize.core.data import Data, Items, Judgements, Pairs
from anysize.core.errors import DataError
from anysize.core.rows import Row

_IDS, _LABELS = ("_id", "id"), ("label", "category")
_VECTORS = ("vectors", "vector", "embeddings", "embedding")
_EXPECTED = "anchor, positive[, negative] for pairs, text[, title][, _id][, label] for texts"


def read_source(source: str | Path) -> Data:
    """As `anysize.core.data.read`."""
    path = Path(source)
    if path.is_dir():
        return _beir(path)
    if path.is_file():
        return _file(path)
    if isinstance(source, Path) or _looks_like_a_path(source):
        raise DataError(f"{source} does not exist")
    return _hub(source)


def _file(path: Path) -> Data:
    kind = rows.kind_of(path)
    if kind in vectors.SUFFIXES and path.suffix != ".gz":
        found, fingerprint = vectors.checked(vectors.vectors_of(path), str(path))
        return Data(path.stem, fingerprint, corpus=_numbered(found))
    if kind in rows.SUFFIXES and not (kind == ".parquet" and path.suffix == ".gz"):
        return _from_rows(path.name.removesuffix(".gz").removesuffix(kind), rows.rows_of(path), str(path))
    known = ", ".join((*rows.SUFFIXES[:4], *vectors.SUFFIXES, rows.SUFFIXES[4]))
    raise DataError(f"cannot tell what {path} holds from its name; expected one of {known} (the first four also .gz)")


def _from_rows(name: str, source: Iterable[Row], where: str) -> Data:
    """Pairs, texts or vectors, as the first row's columns say."""
    stream = iter(source)
    first = next(stream, None)
    if first is None:
        raise DataError(f"{where} is empty; expected rows with the columns {_EXPECTED}")
    columns, everything = first.values.keys(), _chain(first, stream)
    if {"anchor", "positive"} <= columns:
        return _pairs(name, everything, ["anchor", "positive", *(["negative"] if "negative" in columns else [])])
    if "text" in columns:
        digest = _Digest()
        items, labels = _texts(everything, digest, "text" if not set(_IDS) & columns else "")
        return Data(name, digest.hex(), corpus=items, labels=labels)
    column = next((one for one in _VECTORS if isinstance(first.values.get(one), list)), None)
    if column is not None:
        found, ids = _vector_rows(everything, column)
        checked, fingerprint = vectors.checked(found, where)
        return Data(name, fingerprint, corpus=Items(ids, vectors=checked))
    raise DataError(f"{where} has the columns {', '.join(columns) or 'none'}; expected {_EXPECTED}; rename them")


def _pairs(name: str, source: Iterable[Row], columns: list[str]) -> Data:
    digest = _Digest(*columns)
    held: list[list[str]] = [[] for _ in columns]
    for row in source:
        texts = [_text(row, column) for column in columns]
        for column, text, into in zip(columns, texts, held, strict=True):
            if not text.strip():
                raise DataError(f"{row.where}: {column} is empty; a pair needs a text on each side")
            into.append(text)
        digest.add(row, *texts)
    return Data(name, digest.hex(), pairs=Pairs(*held))


def _texts(source: Iterable[Row], digest: _Digest, kind: str) -> tuple[Items, list[str | int] | None]:
    """Rows with `text`, and where they have them `title`, an id and a label; ids are row numbers otherwise."""
    places: dict[str, str] = {}
    texts: list[str] = []
    labels: list[str | int] = []
    label_column: str | None = None
    for number, row in enumerate(source):
        if number == 0:
            label_column = next((column for column in _LABELS if column in row.values), None)
        title = _text(row, "title") if row.values.get("title") is not None else ""
        text = f"{title} {_text(row, 'text')}" if title else _text(row, "text")
        name = str(number) if kind == "text" else _id(row, _IDS)
        if name in places:
            raise DataError(f"{row.where}: the id {name!r} is already that of {places[name]}; ids must differ")
        places[name] = row.where
        texts.append(text)
        digest.add(row, name, text)
        if label_column is not None:
            labels.append(_label(row, label_column))
            digest.add(row, str(labels[-1]))
    return Items(list(places), texts=texts), labels if label_column is not None else None


def _vector_rows(source: Iterable[Row], column: str) -> tuple[np.ndarray, list[str]]:
    found: list[np.ndarray] = []
    ids: dict[str, None] = {}
    for number, row in enumerate(source):
        try:
            vector = np.asarray(row.values[column], dtype=np.float32)
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{row.where}: {column} is not a list of numbers") from None
        if found and vector.shape != found[0].shape:
            raise DataError(f"{row.where} has {vector.size} values; expected {found[0].size} as in the first row")
        name = _id(row, _IDS) if set(_IDS) & row.values.keys() else str(number)
        if name in ids:
            raise DataError(f"{row.where}: the id {name!r} is there already; ids must differ")
        ids[name] = None
        found.append(vector)
    return np.stack(found), list(ids)


def _beir(folder: Path) -> Data:
    """``corpus.jsonl``, ``queries.jsonl``, ``qrels/{train,dev,test}.tsv`` or ``qrels.tsv``, each plain or ``.gz``."""
    digest = _Digest("beir")
    corpus_file = _find(folder, "corpus.jsonl")
    if corpus_file is None:
        raise DataError(f"{folder} holds no corpus.jsonl; expected a folder in BEIR layout, or name one file of it")
    corpus = _beir_texts(corpus_file, digest)
    queries_file = _find(folder, "queries.jsonl")
    queries = None if queries_file is None else _beir_texts(queries_file, digest)
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


def _beir_texts(file: Path, digest: _Digest) -> Items:
    items, _ = _texts(rows.rows_of(file), digest, "beir")
    if not items.ids:
        raise DataError(f"{file} is empty; expected lines with _id and text")
    return items


def _judgements(file: Path, queries: set[str], documents: set[str], digest: _Digest, notes: list[str]) -> Judgements:
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
            if not np.isfinite(gain):
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


def _hub(name: str) -> Data:
    parts = name.split(":")
    if len(parts) > 3 or not all(parts):
        raise DataError(f"cannot read {name!r}; write a `datasets` name as name, name:split or name:config:split")
    split = parts[-1] if len(parts) > 1 else "train"
    try:
        import datasets
    except ImportError:
        raise DataError(f'there is no file {name}; to load it by name, pip install "anysize[text]"') from None
    try:
        table = datasets.load_dataset(parts[0], parts[1] if len(parts) == 3 else None, split=split)
    except Exception as error:  # each hub, cache and network failure has its own class; all mean "not loaded"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"there is no file {name}, and `datasets` could not load that name ({reason})") from None
    numbered = (Row(f"{name} row {number}", dict(values)) for number, values in enumerate(table, start=1))
    return _from_rows(name, numbered, name)


class _Digest:
    """SHA-256 over parsed fields, each with its length, so that one content has one fingerprint in any format."""

    def __init__(self, *kind: str) -> None:
        self._hash = hashlib.sha256("\0".join(kind).encode())

    def add(self, row: Row, *fields: str) -> None:
        for text in fields:
            try:
                content = text.encode()
            except UnicodeEncodeError:
                raise DataError(f"{row.where} holds half a surrogate pair, which is not a character") from None
            self._hash.update(len(content).to_bytes(8, "big") + content)

    def hex(self) -> str:
        return self._hash.hexdigest()


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    if not isinstance(value, str):
        given = "is missing" if value is None else f"is {type(value).__name__}"
        raise DataError(f"{row.where}: {column} {given}; expected text")
    return value


def _id(row: Row, columns: tuple[str, ...]) -> str:
    value = next((row.values[column] for column in columns if column in row.values), None)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"{row.where}: {' or '.join(columns)} is {value!r}; expected an id")
    return str(value)


def _label(row: Row, column: str) -> str | int:
    value = row.values.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"{row.where}: {column} is {value!r}; expected a label")
    return value


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _numbered(found: np.ndarray) -> Items:
    return Items([str(row) for row in range(len(found))], vectors=found)


def _looks_like_a_path(source: str) -> bool:
    known = (*rows.SUFFIXES, *vectors.SUFFIXES, ".gz")
    return source.startswith((".", "/", "~")) or source.endswith("/") or source.count("/") > 1 or source.endswith(known)
