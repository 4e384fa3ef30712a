"""Ways to damage a file or a folder, each drawn by a random generator; each says in a few words what it did."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

REGIONS = 8
"""Parts of a file, of which each is hit."""

Damage = Callable[[Path, random.Random], str]


def damages(folder: Path) -> Iterator[tuple[Path, str, Damage]]:
    """Every damage to every file under a folder (or to a file): the file, the kind of damage, what does it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
    for file in files:
        for region in range(REGIONS):
            yield file, "flip", partial(flip, region=region)
            yield file, "zero", partial(fill, region=region, value=0)
        yield file, "ones", lambda path, rng: fill(path, rng, rng.randrange(REGIONS), 255)
        for share in (0.0, 0.2, 0.5, 0.9, 1.0):
            yield file, "truncate", partial(truncate, share=share)
        yield file, "extend", lambda path, rng: extend(path, rng.randbytes(rng.choice((1, 7, 4096))))
        yield file, "extend", lambda path, rng: extend(path, bytes(rng.choice((1, 8, 4096))))
        yield file, "swap", lambda path, rng: swap(path, rng, files)
        yield file, "folder", become_folder
        if folder.is_dir():
            yield file, "remove", remove
            yield file, "add", add
        if file.suffix == ".json":
            for _ in range(24):
                yield file, "json", edit_json
            yield file, "json", deepen
            yield file, "json", not_text
        if file.suffix == ".safetensors":
            for _ in range(8):
                yield file, "header", edit_header
        if file.suffix in (".jsonl", ".csv", ".tsv"):
            for _ in range(6):
                yield file, "line", edit_line


def _span(content: bytes | bytearray, rng: random.Random, region: int) -> tuple[int, int]:
    start = len(content) * region // REGIONS
    stop = max(start + 1, len(content) * (region + 1) // REGIONS)
    begin = rng.randrange(start, stop)
    return begin, min(len(content), begin + rng.choice((1, 4, 64, stop - start)))


def flip(path: Path, rng: random.Random, region: int) -> str:
    """One bit of a region."""
    content = bytearray(path.read_bytes())
    if not content:
        return "nothing to flip"
    place, bit = min(_span(content, rng, region)[0], len(content) - 1), rng.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place} of {len(content)} flipped"


def fill(path: Path, rng: random.Random, region: int, value: int) -> str:
    """A range of a region made of one value."""
    content = bytearray(path.read_bytes())
    start, stop = _span(content, rng, region)
    content[start:stop] = bytes([value]) * max(0, stop - start)
    path.write_bytes(content)
    return f"bytes {start} to {stop} of {len(content)} made {value}"


def truncate(path: Path, rng: random.Random, share: float) -> str:
    """The first part of the file alone; of 1, all but the last byte."""
    content = path.read_bytes()
    kept = int(len(content) * share) if share < 1 else len(content) - 1
    path.write_bytes(content[: max(0, kept)])
    return f"cut to {kept} of {len(content)} bytes"


def extend(path: Path, more: bytes) -> str:
    """Bytes after the end."""
    with path.open("ab") as stream:
        stream.write(more)
    return f"{len(more)} bytes {'of zeros ' if not any(more) else ''}added at the end"


def swap(path: Path, rng: random.Random, files: list[Path]) -> str:
    """The contents of two files exchanged."""
    other = rng.choice(files)
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)
    return f"exchanged with {other.name}"


def become_folder(path: Path, rng: random.Random) -> str:
    """A folder of the file's name."""
    path.unlink()
    path.mkdir()
    return "a folder in its place"


def remove(path: Path, rng: random.Random) -> str:
    """The file, or its whole folder, gone."""
    if rng.random() < 0.8 or path.parent.name not in ("encoder", "tokenizer", "1_Pooling", "segments"):
        path.unlink()
        return "removed"
    shutil.rmtree(path.parent)
    return "removed with its folder"


_STRANGERS = {
    "added_tokens.json": '{"balan": 3}',
    "special_tokens_map.json": '{"unk_token": "balan"}',
    "adapter_config.json": "{}",
    "config.json": "{}",
    "model.safetensors.index.json": '{"weight_map": {}}',
    "pytorch_model.bin": "no weights",
    "chat_template.jinja": "{{ 1 }}",
    "sentence_bert_config.json": '{"max_seq_length": 3}',
    "anysize.json": "{}",
    "index.json": "{}",
    "ae.pt": "nothing",
    "0.npy": "nothing",
    ".hidden": "nothing",
}


def add(path: Path, rng: random.Random) -> str:
    """A file beside it that some reader may look for."""
    name = rng.choice(sorted(_STRANGERS))
    (path.parent / name).write_text(_STRANGERS[name])
    return f"{name} written beside it"


def edit_json(path: Path, rng: random.Random) -> str:
    """One value of a JSON file replaced, removed, doubled or renamed."""
    value = json.loads(path.read_text("utf-8"))
    value, did = edited(value, rng)
    text = json.dumps(value)
    if did == "doubled" and isinstance(value, dict) and value:
        key = rng.choice(sorted(value))
        text = f"{text[:-1]}, {json.dumps(key)}: {json.dumps(rng.choice(_ODD))}}}"
        did = f"key {key} given twice"
    path.write_text(text)
    return did


def edited(value: Any, rng: random.Random) -> tuple[Any, str]:
    """A JSON value with one place changed, and what was done."""
    if rng.random() < 0.08:
        return value, "doubled"
    places = list(_places(value))
    if not places:
        return rng.choice(_ODD), "the whole replaced"
    holder, key, where = rng.choice(places)
    old, did = holder[key], rng.choice(("replace", "replace", "nudge", "remove", "rename"))
    if did == "nudge" and isinstance(old, int | float) and not isinstance(old, bool):
        holder[key] = new = rng.choice((old + 1, old - 1, -old, old * 1000, float(old), str(old)))
        return value, f"{where} {old!r} made {new!r}"
    if did == "nudge" and isinstance(old, str | list):
        holder[key] = old[:-1] if rng.random() < 0.5 else [*old, *old[:1]] if isinstance(old, list) else old + old[:1]
        return value, f"{where} shortened or lengthened to {str(holder[key])[:60]!r}"
    if did == "remove":
        del holder[key]
        return value, f"{where} removed"
    if did == "rename" and isinstance(holder, dict):
        holder[f"{key}_"] = holder.pop(key)
        return value, f"{where} renamed"
    holder[key] = new = rng.choice(_ODD)
    return value, f"{where} {str(old)[:40]!r} made {str(new)[:40]!r}"


_ODD: list[Any] = [None, True, False, -1, 0, 1, 10**30, 1e308, float("nan"), float("inf"), "", "5", "../x", "\u0000",
                   [], {}, [[]], {"a": 1}, [1, "a"], "a" * 5000, -(2**63), 0.5]  # fmt: skip


def _places(value: Any, where: str = "") -> Iterator[tuple[Any, Any, str]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield value, key, f"{where}/{key}"
        yield from _places(inner, f"{where}/{key}")


def deepen(path: Path, rng: random.Random) -> str:
    """JSON that is nested deeper than a reader's stack."""
    depth = rng.choice((900, 5000, 100_000))
    path.write_text("[" * depth + "]" * depth if rng.random() < 0.5 else '{"a":' * depth + "1" + "}" * depth)
    return f"JSON {depth} levels deep"


def not_text(path: Path, rng: random.Random) -> str:
    """Bytes that are not UTF-8 within JSON."""
    content = path.read_bytes()
    path.write_bytes(rng.choice((content.replace(b'"', b'"\xff', 1), b"\xff\xfe" + content, content + b"\x80")))
    return "bytes that are not UTF-8"


def edit_header(path: Path, rng: random.Random) -> str:
    """The header of a safetensors file edited as JSON, or its length made something else."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if rng.random() < 0.25:
        new = rng.choice((0, 1, length - 1, length + 8, 10**12, 2**63, 2**64 - 1))
        path.write_bytes(new.to_bytes(8, "little") + content[8:])
        return f"header length {length} made {new}"
    value, did = edited(json.loads(content[8 : 8 + length]), rng)
    header = json.dumps(value).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    return f"header: {did}"


def edit_line(path: Path, rng: random.Random) -> str:
    """One line of a file of rows removed, doubled, emptied, torn or of another form."""
    lines = path.read_bytes().splitlines(keepends=True)
    place = rng.randrange(len(lines))
    new = rng.choice((b"", lines[place] * 2, b"\n", lines[place][:9] + b"\n", b"[1, 2]\n", b"null\n", b'{"text": 5}\n',
                      b'{"_id": "a\\nb", "text": ""}\n', b'{"text": "\\ud800"}\n', b"a,b,c,d,e\n", b'"\n',
                      b"\xff\xfe\n", b"[" * 5000 + b"\n", b"q0\td0\tnan\n", b"q0\td0\t1e999\n"))  # fmt: skip
    lines[place] = new
    path.write_bytes(b"".join(lines))
    return f"line {place + 1} made {new[:40]!r}"
