"""Annotated documents and their dictionary out of a folder (or its archive), a jsonl file, or a table."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from anysize.coding.reading.brat import Newline, read_split
from anysize.coding.records.dictionary import CodeDictionary, latin
from anysize.coding.records.documents import Document, Span, overlapping
from anysize.core.arguments import PATH, takes
from anysize.core.data.data import Data
from anysize.core.data.files.digest import Digest
from anysize.core.data.files.rows import Row, rows_of, short_list
from anysize.core.data.held_out import held_out
from anysize.core.data.records import Items
from anysize.core.errors import DataError

SPLITS = ("train", "dev", "test")
_MOST = 64 << 20
"""Bytes up to which a file of an archive is read."""


@dataclass(frozen=True, repr=False)
class CodingData(Data):
    """Documents with spans and codes, and the codes' dictionary, where the folder has one."""

    documents: tuple[Document, ...] = ()
    dictionary: CodeDictionary | None = None

    @cached_property
    def _left_out(self) -> frozenset[str]:
        return held_out([one.text for one in self.documents], self.name, "document")

    def to_learn(self) -> list[Document]:
        """The documents to learn from: the split train; without splits, nine tenths, chosen by a hash of each text."""
        chosen = [one for one in self.documents if one.split == "train"]
        return chosen if self._is_split else [one for one in self.documents if one.text not in self._left_out]

    def to_measure(self, held_out: bool) -> list[Document]:
        """The split test, else dev; without splits all, or of what was learnt from (`held_out`) the tenth left out."""
        for split in ("test", "dev"):
            if any(one.split == split for one in self.documents):
                return [one for one in self.documents if one.split == split]
        return [one for one in self.documents if not held_out or one.text in self._left_out]

    @property
    def _is_split(self) -> bool:
        return len({one.split for one in self.documents}) > 1


@takes(path=PATH)
def read_folder(path: str | Path, newline: Newline = "auto") -> CodingData:
    """
    Documents of a folder: brat files (in it, in folders called for their split, or in a zip archive), or SPLIT.jsonl.

    Beside them may lie a dictionary of codes (``codes.*``, or a YAML file of another name) and abbreviations
    (``abbr*.yaml``). Raises `DataError` where there are no documents, naming what was expected.
    """
    home = Path(path)
    found: list[tuple[str, Sequence[Any]]] = []
    if home.is_file() and home.suffix.lower() == ".zip":
        found = list(_archived(home))
        home = home.parent
    elif home.is_dir():
        found = list(_plain(home)) or [one for file in sorted(home.glob("*.zip")) for one in _archived(file)]
    documents: list[Document] = []
    notes: list[str] = []
    for split, files in found:
        read, said, _ = read_split(files, split, newline)
        documents += read
        notes += said
    for file in [] if found else sorted(home.glob("*.jsonl")):
        if file.stem in SPLITS:
            read, said = _from_jsonl(file, newline)
            documents += read
            notes += said
    documents.sort(key=lambda one: SPLITS.index(one.split))
    if not documents:
        raise DataError(f"{path} holds no documents; expected .txt files beside .ann files, or train.jsonl")
    return data_of(home.name, documents, dictionary_beside(home), notes)


def read_if_documents(path: Path) -> CodingData | None:
    """What `read_folder` gives of a folder in which a dictionary lies; None where no documents lie beside it."""
    beside = any(path.glob("*.zip")) or any((path / f"{split}.jsonl").exists() for split in SPLITS)
    return read_folder(path) if beside else None


def dictionary_beside(home: Path) -> CodeDictionary | None:
    """The dictionary that lies in a folder; None if there is none. Raises `DataError` where several could be it."""
    yamls = [*sorted(home.glob("*.yaml")), *sorted(home.glob("*.yml"))]
    short = [one for one in yamls if one.name.lower().startswith("abbr")]
    codes = [one for one in yamls if one not in short]
    codes += [one for one in sorted(home.glob("codes.*")) if one not in codes and one.suffix != ".txt"]
    if len(codes) > 1:
        raise DataError(f"{home} holds several dictionaries, {short_list(one.name for one in codes)}; leave one there")
    return CodeDictionary.read(codes[0], short[0] if short else None) if codes else None


def data_of(
    name: str, documents: Sequence[Document], dictionary: CodeDictionary | None = None, notes: Iterable[str] = ()
) -> CodingData:
    """Documents in memory as data, with what a reader should know of them."""
    said = [*notes]
    if dictionary is not None:
        documents, turned = _as_spelled(documents, dictionary)
        if turned:
            said.append(
                f"{turned.total()} codes of spans are written with letters that look like the dictionary's, and read "
                f"as there ({short_list(turned, 3)})"
            )
    digest = Digest("coding")
    for one in documents:
        spans = json.dumps([(span.start, span.end, span.code) for span in one.spans])
        digest.add(Row(one.name, {}), one.split, one.text, spans)
    for code, text in {} if dictionary is None else dictionary.names.items():
        digest.add(Row(code, {}), code, text)
    crossed = sum(overlapping(one.spans) for one in documents)
    if crossed:
        said.append(f"{crossed} pairs of spans overlap; of these the shorter is learnt from, and both are scored")
    empty = sum(not one.text.strip() for one in documents)
    if empty:
        said.append(f"{empty} of {len(documents)} documents are empty")
    if dictionary is not None:
        said += dictionary.notes
        strangers = unknown(documents, dictionary)
        if strangers:
            lost = sum(span.code in strangers for one in documents for span in one.spans)
            said.append(
                f"{lost} spans have a code that the dictionary lacks ({short_list(strangers, 3)}): they are kept out "
                "of training, and scored as they are"
            )
    names = [f"{one.split}/{one.name}" for one in documents]
    items = Items(names, [one.text for one in documents])
    return CodingData(name, digest.hex(), items, notes=tuple(said), documents=tuple(documents), dictionary=dictionary)


def _as_spelled(documents: Sequence[Document], dictionary: CodeDictionary) -> tuple[list[Document], Counter[str]]:
    """Documents whose codes are written as in the dictionary, and how often each was written otherwise."""
    turned: Counter[str] = Counter()
    made = []
    for document in documents:
        spans = []
        for span in document.spans:
            code = span.code if span.code is None else dictionary.spelled(span.code)
            if code != span.code:
                turned[f"{span.code} for {code}"] += 1
            spans.append(replace(span, code=code))
        made.append(replace(document, spans=tuple(spans)) if turned else document)
    return made, turned


def unknown(documents: Iterable[Document], dictionary: CodeDictionary) -> list[str]:
    """Codes of the documents that the dictionary lacks, sorted."""
    return sorted({code for one in documents for code in one.codes} - dictionary.names.keys())


def coding_data(data: Data, dictionary: CodeDictionary | None = None) -> CodingData:
    """
    Data as documents: what `read_folder` gave, or a table with the columns text and code, each text one mention.

    A dictionary that is given stands in place of the data's own. Raises `DataError` for other data.
    """
    if isinstance(data, CodingData):
        return data if dictionary is None else data_of(data.name, data.documents, dictionary, data.notes)
    texts: Any = data.items().texts if data.corpus is not None else None
    codes: Any = data.labels
    table = data.table
    if table is not None and "text" in table and "code" in table:
        texts, codes = list(table["text"]), list(table["code"])
    if texts is None or codes is None:
        raise DataError(
            f"{data.name} holds {data.holds}; expected a folder of brat files, or a table with columns text and code"
        )
    documents = []
    for row, (text, code) in enumerate(zip(texts, codes, strict=True)):
        said = str(text).replace("\r\n", "\n")
        spans = (Span(0, len(said), said, latin(str(code))),) if said.strip() and code not in (None, "") else ()
        documents.append(Document(str(row), said, spans))
    return replace(data_of(data.name, documents, dictionary, data.notes), fingerprint=data.fingerprint)


def _split_of(name: str) -> str:
    return next((split for split in SPLITS if split in name.lower()), "train")


def _plain(home: Path) -> Iterator[tuple[str, Sequence[Any]]]:
    """The brat files of a folder and of the folders in it, by split."""
    found: dict[str, list[Any]] = {}
    for folder in (home, *sorted(one for one in home.rglob("*") if one.is_dir())):
        marked = {one.stem: one for one in folder.glob("*.ann")}
        texts = sorted((one for one in folder.glob("*.txt") if one.stem in marked), key=lambda one: _number(one.stem))
        lonely = sorted(marked.keys() - {one.stem for one in texts}, key=_number)
        if lonely:
            raise DataError(f"{folder} holds {lonely[0]}.ann without {lonely[0]}.txt; annotations need their text")
        split = _split_of(folder.relative_to(home).as_posix()) if folder != home else _split_of(home.name)
        found.setdefault(split, []).extend((one.stem, _text(one), _text(marked[one.stem])) for one in texts)
    return ((split, files) for split, files in found.items() if files)


def _text(file: Path) -> str:
    return _decoded(file.read_bytes(), str(file))


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _archived(file: Path) -> Iterator[tuple[str, Sequence[Any]]]:
    """The brat files of an archive, by split; nothing is unpacked."""
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise DataError(f"{file} is no zip archive; it may be cut short") from None
    with archive:
        held = {one.filename: one for one in archive.infolist() if one.filename.endswith((".txt", ".ann"))}
        found: dict[str, list[Any]] = {}
        for name in sorted(
            (one[:-4] for one in held if one.endswith(".ann") and f"{one[:-4]}.txt" in held), key=_number
        ):
            texts = []
            for ending in (".txt", ".ann"):
                if held[name + ending].file_size > _MOST:
                    raise DataError(f"{file}: {name}{ending} is larger than {_MOST >> 20} MiB; unpack and split it")
                texts.append(_decoded(archive.read(name + ending), f"{file}: {name}{ending}"))
            folder, _, stem = name.rpartition("/")
            found.setdefault(_split_of(folder), []).append((stem, *texts))
    yield from found.items()


def _number(name: str) -> tuple[str, int, str]:
    """Orders 2 before 10."""
    folder, _, stem = name.rpartition("/")
    return (folder, int(stem), "") if stem.isdecimal() and len(stem) < 18 else (folder, 1 << 62, stem)


def _from_jsonl(file: Path, newline: Newline) -> tuple[list[Document], tuple[str, ...]]:
    """Rows with a text and entities: start, end, text and code of each."""
    files = []
    for place, row in enumerate(rows_of(file)):
        lines = []
        try:
            for number, one in enumerate(row.values["entities"]):
                mention = str(one["text"]).replace("\n", " ")
                lines.append(f"T{number}\tcode {int(one['start'])} {int(one['end'])}\t{mention}")
                if one.get("code"):
                    lines.append(f"N{number}\tReference T{number} codes:0\t{one['code']}")
            files.append((str(row.values.get("id", place)), str(row.values["text"]), "\n".join(lines)))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DataError(
                f"{row.where} is no document; expected text, and entities with start, end, text and code"
            ) from None
    documents, notes, _ = read_split(files, file.stem, newline)
    return documents, notes
