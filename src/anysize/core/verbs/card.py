"""
A model card, as the hub reads it: README.md with YAML on top, then what the model is, its figures, how it was made.

It is written in the same step as the model. One that somebody changed is never replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.core.engine_checks import Exported
from anysize.core.files import README, ended, theirs
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.records import NESTED
from anysize.core.printable import printable
from anysize.core.shortly import sizes
from anysize.core.version import __version__

if TYPE_CHECKING:
    from anysize.core.model.contract import NestedModel
    from anysize.core.sizes.size import Size

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_LIBRARIES = {
    "sentence-transformers": ("sentence-transformers", "sentence-similarity"),
    "transformers": ("transformers", "text-generation"),
    "SparseEncoder": ("sentence-transformers", "feature-extraction"),
    "anysize": ("anysize", None),
}
"""Format -> the hub's names of the library that loads it and of what it is for."""


def kept(folder: Path) -> list[str]:
    """What to know before a folder is written again: that somebody changed its card, which stays as it is."""
    file = theirs(folder)
    return [] if file is None else [f"{file} was changed since anysize wrote it, so it is kept as it is"]


def model_card(name: str, model: NestedModel, frontier: Frontier | None = None) -> bytes:
    """The card of a whole model, which is or will be saved in a folder of that name."""
    made = Exported("anysize", how=f'anysize.load("{name}")')
    what = f"A nested (Matryoshka) model: {sizes(model.nesting)}."
    if frontier is None:
        what += f" Not measured yet: {_code(f'anysize measure {name} DATA')} puts its figures here."
    return card(name, what, made, model.about, frontier)


def cut_card(
    name: str, size: Size, made: Exported, about: Mapping[str, Any], frontier: Frontier | None = None
) -> bytes:
    """The card of one size of a model, as it was written in some format."""
    what = f"The size `{size}` of a nested (Matryoshka) model, in the format of {_words(made.format)}."
    return card(name, what, made, about, frontier, size)


def card(
    name: str,
    what: str,
    made: Exported,
    about: Mapping[str, Any],
    frontier: Frontier | None = None,
    size: Size | None = None,
) -> bytes:
    """A card: of what is called `name`, with the figures of a frontier, `size` marked among them."""
    parts = [_front(made.format, about), *_body(name, what, made, about), *_figures(frontier, size)]
    return ended("\n\n".join(parts).encode("utf-8", "replace").decode() + "\n").encode()


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


def _body(name: str, what: str, made_as: Exported, about: Mapping[str, Any]) -> list[str]:
    base, data = _base(about), about.get("data", {})
    facts = {
        "method": about.get("method"),
        "base model": base,
        "learnt from": data.get("name"),
        "fingerprint of that data": data.get("fingerprint"),
        "written by": f"anysize {__version__}",
    }
    rows = [f"| {fact} | {_code(value)} |" for fact, value in facts.items() if value is not None]
    return [
        f"# {_words(name)}",
        what,
        f"```python\n{printable(made_as.how)}\n```",
        "\n".join(["## How it was made", "", "| | |", "|---|---|", *rows]),
    ]


def _figures(frontier: Frontier | None, size: Size | None) -> list[str]:
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
    file = None if base is None else Path(base) / README
    if file is None or not file.is_file():
        return None
    front = re.match(r"---\n(.*?)\n---", file.read_text("utf-8", "replace"), re.DOTALL)
    found = re.search(r"^license: *['\"]?([\w.-]+)['\"]? *$", front[1], re.MULTILINE) if front else None
    return found[1] if found else None
