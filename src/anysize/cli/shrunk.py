"""What a cut made smaller, and what not: read from the heads of files, never from their weights."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anysize.core.shortly import bytes_in_words

_TABLE = re.compile(r"(word_embeddings|embed_tokens|tok_embeddings|wte|token_embd)\.weight(\[|$)")


@dataclass(frozen=True)
class Held:
    """A folder of a model, in bytes and numbers."""

    bytes: int
    parameters: int | None
    """Numbers in its safetensors files; None without any, or where they are codes."""
    table: int | None
    """Bytes of its table of tokens; None without one."""

    @classmethod
    def of(cls, path: Path) -> Held:
        """What lies at a path."""
        files = [file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
        tensors = [one for file in files if file.suffix == ".safetensors" for one in _tensors(file)]
        tables = [one.bytes for one in tensors if _TABLE.search(one.name)]
        plain = bool(tensors) and all("F" in one.type for one in tensors)
        count = sum(one.numbers for one in tensors) if plain else None
        return cls(sum(file.stat().st_size for file in files), count, sum(tables) if tables else None)


@dataclass(frozen=True)
class Shrunk:
    """The model before and after."""

    before: Held
    after: Held

    def lines(self) -> list[str]:
        """What is smaller, and what is as large as it was."""
        before, after = self.before, self.after
        parts = [f"files {bytes_in_words(before.bytes)} -> {bytes_in_words(after.bytes)}"]
        if before.parameters and after.parameters and after.parameters < before.parameters:
            parts.insert(0, f"parameters {before.parameters:,} -> {after.parameters:,}")
        word = "smaller" if after.bytes < before.bytes else "larger"
        lines = [f"{word}: {', '.join(parts)}"] if after.bytes != before.bytes else []
        if after.table and before.table and after.table >= before.table:
            share = f"{bytes_in_words(after.table)} of the {bytes_in_words(after.bytes)}"
            lines.append(f"as large as before: the table of tokens, {share}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Both, as plain values."""
        return {"before": vars(self.before), "after": vars(self.after)}


@dataclass(frozen=True)
class _Tensor:
    name: str
    numbers: int
    bytes: int
    type: str
    """As safetensors names it: F32, BF16, U8."""


def _tensors(file: Path) -> list[_Tensor]:
    from anysize.core.errors import refused_as_damaged

    with refused_as_damaged(f"{file} is no safetensors file"), file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > file.stat().st_size:
            raise ValueError("its head is longer than the file")
        head: dict[str, Any] = json.loads(stream.read(length))
        return [
            _Tensor(name, math.prod(one["shape"]), one["data_offsets"][1] - one["data_offsets"][0], one["dtype"])
            for name, one in head.items()
            if name != "__metadata__"
        ]
