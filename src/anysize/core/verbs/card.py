"""
A model card, as the hub reads it: README.md with YAML on top, then what the model is, its figures, how it was made.

It ends in a digest of itself, by which a card that somebody changed is known; such a one is never replaced.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.core.errors import CheckpointError
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.records import NESTED
from anysize.core.printable import printable
from anysize.core.version import __version__

if TYPE_CHECKING:
    from anysize.core.engine_checks import Exported
    from anysize.core.sizes.size import Size

CARD = "README.md"
_SEAL = re.compile(r"\n<!-- anysize wrote this card and replaces it unless it was changed: ([0-9a-f]{16}) -->\n\Z")
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_LIBRARIES = {
    "sentence-transformers": ("sentence-transformers", "sentence-similarity"),
    "transformers": ("transformers", "text-generation"),
    "SparseEncoder": ("sentence-transformers", "feature-extraction"),
    "anysize": ("anysize", None),
}
"""Format -> the hub's names of the library that loads it and of what it is for."""


def check_card(folder: Path) -> None:
    """Raise `CheckpointError` if a folder that is to be replaced has a card that is not as it was written."""
    file = folder / CARD
    if file.is_file() and not _is_ours(file.read_bytes().decode("utf-8", "replace")):
        raise CheckpointError(
            f"{file} was changed since anysize wrote it, and would be lost; move it away, or name another place"
        )


def _is_ours(text: str) -> bool:
    seal = _SEAL.search(text)
    return seal is not None and _digest(text[: seal.start()]) == seal[1]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def card(name: str, size: Size, made: Exported, about: Mapping[str, Any], frontier: Frontier | None = None) -> str:
    """The text of a card: of the model called `name`, as it was written at `size`, with the figures of a frontier."""
    parts = [_front(made.format, about), *_body(name, size, made, about), *_figures(frontier, size)]
    text = "\n\n".join(parts).encode("utf-8", "replace").decode() + "\n"
    return f"{text}\n<!-- anysize wrote this card and replaces it unless it was changed: {_digest(text)} -->\n"


def frontier_beside(folder: Path) -> Frontier | None:
    """What `measure` left beside a model; None if it was not measured."""
    file = folder / "frontier.json"
    return Frontier.from_json(file) if file.is_file() else None


def _front(form: str, about: Mapping[str, Any]) -> str:
    library, task = _LIBRARIES.get(form, (form.lower(), None))
    base = _base(about)
    known = base is not None and not Path(base).exists() and _HUB_NAME.fullmatch(base)
    single = {
        "library_name": library,
        "pipeline_tag": task,
        "base_model": base if known else None,
        "license": _license(base),
    }
    lines = [f"{key}: {quoted(value)}" for key, value in single.items() if value is not None]
    tags = dict.fromkeys(["matryoshka", "anysize", str(about.get("method") or ""), library])
    return "\n".join(["---", *lines, "tags:", *(f"- {quoted(tag)}" for tag in tags if tag), "---"])


def _body(name: str, size: Size, made_as: Exported, about: Mapping[str, Any]) -> list[str]:
    base, data = _base(about), about.get("data", {})
    made = {
        "method": about.get("method"),
        "base model": base,
        "learnt from": data.get("name"),
        "fingerprint of that data": data.get("fingerprint"),
        "written by": f"anysize {__version__}",
    }
    rows = [f"| {what} | {_code(value)} |" for what, value in made.items() if value is not None]
    return [
        f"# {_words(name)}",
        f"The size `{size}` of a nested (Matryoshka) model, in the format of {_words(made_as.format)}.",
        f"```python\n{printable(made_as.how)}\n```",
        "\n".join(["## How it was made", "", "| | |", "|---|---|", *rows]),
    ]


def _figures(frontier: Frontier | None, size: Size) -> list[str]:
    """The nested arm, a row a size, with the one of this card marked."""
    if frontier is None or NESTED not in frontier.arms:
        return []
    metric = frontier.metric
    rows = [
        f"| {f'**{one.size}**' if one.size == size else one.size} | {one.bytes:,} | {one.metrics[metric]:.4f} |"
        for one in frontier.arm(NESTED)
    ]
    on = f"Measured on {_code(frontier.meta['data'])}." if frontier.meta.get("data") else "As it was measured."
    return [
        "\n".join(["## Figures", "", on, "", f"| size | bytes an item | {_words(metric)} |", "|---|---|---|", *rows])
    ]


def quoted(text: str) -> str:
    """A text as YAML, in quotes, so that nothing in it is taken for anything else."""
    return '"' + "".join(map(_escaped, text.encode("utf-8", "replace").decode())) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable() and char != "\ufeff":
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def _words(text: Any) -> str:
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", printable(str(text)))


def _code(text: Any) -> str:
    return f"`{printable(str(text)).replace('`', chr(39)).replace('|', '¦')}`"


def _base(about: Mapping[str, Any]) -> str | None:
    options = about.get("options")
    base = options.get("model") if isinstance(options, Mapping) else None
    return base if isinstance(base, str) and base else None


def _license(base: str | None) -> str | None:
    """What the card of the base says, if that is a folder here."""
    file = None if base is None else Path(base) / CARD
    if file is None or not file.is_file():
        return None
    front = re.match(r"---\n(.*?)\n---", file.read_text("utf-8", "replace"), re.DOTALL)
    found = re.search(r"^license: *['\"]?([\w.-]+)['\"]? *$", front[1], re.MULTILINE) if front else None
    return found[1] if found else None
