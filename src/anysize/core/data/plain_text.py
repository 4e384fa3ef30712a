"""Running text to learn from without labels: .txt files, a folder of them, or whatever else holds texts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from anysize.core.data.data import Data
from anysize.core.data.digest import Digest
from anysize.core.data.files.rows import Row, lines_of
from anysize.core.data.read import Source, read
from anysize.core.data.records import Items
from anysize.core.errors import DataError

SUFFIXES = (".txt", ".txt.gz")


def read_texts(source: Source) -> Data:
    """
    The texts of a source, one after the other: a .txt file (also .txt.gz), a folder of them, or what `read` takes.

    A text of a .txt file is a paragraph, what blank lines separate; where there is no blank line, it is a line.
    Raises `DataError`, naming the file, for an empty source, one that is not UTF-8, or one that holds no texts.
    """
    files = _files(Path(source)) if isinstance(source, str | os.PathLike) else []
    if not files:
        data = read(source)
        if not any(text.strip() for text in data.texts):
            raise DataError(f"{data.name} holds only empty texts; give text to learn from")
        return data
    digest, texts = Digest("texts"), []
    for file in files:
        for row in _paragraphs(file):
            digest.add(row, row.values["text"])
            texts.append(row.values["text"])
    if not texts:
        raise DataError(f"{source} holds no text; give text to learn from")
    name = Path(source).name.removesuffix(".gz").removesuffix(".txt")
    return Data(name, digest.hex(), corpus=Items([str(place) for place in range(len(texts))], texts))


def _files(path: Path) -> list[Path]:
    """The .txt files at a path, in order of their names; none where it is something else."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and file.name.lower().endswith(SUFFIXES))
    return [path] if path.is_file() and path.name.lower().endswith(SUFFIXES) else []


def _paragraphs(file: Path) -> Iterator[Row]:
    lines = [(number, " ".join(line.split())) for number, line in lines_of(file)]
    content = [place for place, (_, line) in enumerate(lines) if line]
    inner = lines[content[0] : content[-1] + 1] if content else []
    if all(line for _, line in inner):  # no blank line between two others: the lines are the texts
        yield from (Row(f"{file} line {number}", {"text": line}) for number, line in inner)
        return
    held: list[str] = []
    for number, line in [*inner, (0, "")]:
        if line:
            held.append(line)
        elif held:
            yield Row(f"{file} before line {number}", {"text": " ".join(held)})
            held = []
