"""A list of codes with their names, whose hierarchy is read from the keys: chapter, block, X00, X00.0."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from anysize.core.arguments import MAPPING, takes
from anysize.core.data.files.rows import rows_of, short_list
from anysize.core.errors import DataError

LEVELS = ("chapter", "category", "code")
"""From coarse to fine, as prefixes may be tied to them: the first letter, X00, and the code whole."""

_ALIKE = str.maketrans("АВСЕНКМОРТХУІ", "ABCEHKMOPTXYI")
"""Cyrillic capitals that look Latin."""
_RANGE = re.compile(r"([A-Z]\d\d)-([A-Z]\d\d)")
_CODE = re.compile(r"([A-Z]\d\d)(?:\.(\w+))?")
_CODES = ("code", "icd", "icd_code", "icd10", "id", "key")
_NAMES = ("name", "description", "descr", "text", "term", "title", "label")


def latin(code: str) -> str:
    """A code typed with Cyrillic letters that look Latin, in Latin: its first letter, and those of a range."""
    code = code.strip()
    return re.sub(r"(^|(?<=-))\w", lambda found: found[0].upper().translate(_ALIKE), code)


def folded(code: str) -> str:
    """A code with all its letters in Latin capitals, where they look so: what two spellings of one code share."""
    return code.strip().upper().translate(_ALIKE)


@dataclass(frozen=True)
class CodeDictionary:
    """Codes with their names, and abbreviations that a query may hold."""

    names: Mapping[str, str]
    """Code -> its description."""
    abbreviations: Mapping[str, str]
    """In capitals -> written out. They are applied to what is looked up alone, which is kept as it stands too."""
    aliases: Mapping[str, tuple[str, ...]]
    """Code -> more names."""
    notes: tuple[str, ...] = ()

    @classmethod
    @takes(names=MAPPING)
    def of(cls, names: Mapping[str, str], abbreviations: Mapping[str, str] | None = None) -> CodeDictionary:
        """A dictionary in memory. Keys with Cyrillic letters that look Latin are read as Latin, and counted."""
        read: dict[str, str] = {}
        turned = []
        for code, name in names.items():
            key = latin(str(code))
            if key != str(code).strip():
                turned.append(str(code))
            if key in read and key != str(code).strip():
                continue  # the code as it should be written stands there too
            read[key] = str(name).strip()
        said: tuple[str, ...] = ()
        if turned:
            said = (f"{len(turned)} codes begin with a Cyrillic letter, read as Latin: {short_list(turned, 3)}",)
        return cls(read, dict(abbreviations or {}), {}, said)

    @classmethod
    def read(cls, path: Path, abbreviations: Path | None = None) -> CodeDictionary:
        """
        Read a YAML mapping, or a csv, tsv, json or jsonl table with a column of codes and one of names.

        Several rows of a table may give one code several names. Raises `DataError`, naming the line, for a YAML file
        that has one key twice, and for a table without such columns.
        """
        short = None if abbreviations is None else mapping(abbreviations)
        if path.suffix.lower() in (".yaml", ".yml"):
            return cls.of(mapping(path), short)
        names: dict[str, str] = {}
        more: dict[str, list[str]] = {}
        for row in rows_of(path):
            folded = {name.strip().lower(): name for name in row.values}
            code, name = (next((folded[one] for one in known if one in folded), None) for known in (_CODES, _NAMES))
            if code is None or name is None:
                raise DataError(f"{row.where} has no column {_CODES[0]} and {_NAMES[0]}; it has {short_list(folded)}")
            key, said = str(row.values[code]).strip(), str(row.values[name]).strip()
            if key in names:
                more.setdefault(latin(key), []).append(said)
            else:
                names[key] = said
        if not names:
            raise DataError(f"{path} holds no codes; expected rows with a code and its name")
        return cls.of(names, short).with_aliases(more)

    def with_aliases(self, aliases: Mapping[str, Iterable[str]]) -> CodeDictionary:
        """The same with more names of its codes. Raises `DataError`, naming it, for a code that is not there."""
        for code in aliases:
            if code not in self.names:
                raise DataError(f"the dictionary has no code {code}, so nothing can be another name of it")
        every = {code: (*self.aliases.get(code, ()), *more) for code, more in aliases.items()}
        return CodeDictionary(self.names, self.abbreviations, {**self.aliases, **every}, self.notes)

    def spelled(self, code: str) -> str:
        """A code as the dictionary has it, if one there differs in letters that look alike alone (F13.00H); else it."""
        return code if code in self.names else self._alike.get(folded(code), code)

    @cached_property
    def _alike(self) -> dict[str, str]:
        return {folded(code): code for code in reversed(list(self.names))}

    def level(self, code: str) -> str:
        """Chapter (A), block (A00-A09), category (A00), code (A00.0), or other."""
        if re.fullmatch(r"[A-Z]", code):
            return "chapter"
        if _RANGE.fullmatch(code):
            return "block"
        found = _CODE.fullmatch(code)
        return "other" if found is None else "category" if found[2] is None else "code"

    def coarse(self, code: str, level: str) -> str:
        """What a code is at one of `LEVELS`: its first letter, X00, or itself; of a range, its first code's."""
        if level == "code":
            return code
        return code[:1] if level == "chapter" else code[:3]

    def parent(self, code: str) -> str | None:
        """
        The next coarser code of the dictionary: X00.0 of X00.00, X00 of X00.0, the narrowest range of X00.

        None where there is none.
        """
        found = _CODE.fullmatch(code)
        if found is not None and found[2] is not None:
            stem = code[:-1] if len(found[2]) > 1 else found[1]
            return stem if stem in self.names else self.parent(stem)
        first, last = code[:3], (code[4:] if _RANGE.fullmatch(code) else code[:3])
        around = [one for one in self._ranges if one != code and one[:3] <= first and last <= one[4:]]
        return min(around, key=lambda one: (_width(one), one), default=None)

    def children(self, code: str) -> list[str]:
        """The codes whose parent this is."""
        return self._children.get(code, [])

    @cached_property
    def _ranges(self) -> list[str]:
        return [code for code in self.names if _RANGE.fullmatch(code)]

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for code in self.names:
            parent = self.parent(code)
            if parent is not None:
                found.setdefault(parent, []).append(code)
        return found

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        known = [word for word in self.abbreviations if 2 <= len(word) <= 8 and word.isalpha() and word.isupper()]
        words = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
        return re.compile(rf"(?<!\w)(?:{words})(?!\w)") if known else None

    def variants(self, mention: str) -> list[str]:
        """A mention as it stands, and, where it has known abbreviations, with all of them written out."""
        if self._pattern is None:
            return [mention]
        full = self._pattern.sub(lambda found: self.abbreviations[found[0]], mention)
        return [mention] if full == mention else [mention, full]

    def __len__(self) -> int:
        return len(self.names)


def _width(code: str) -> int:
    place = [100 * (ord(one[0]) - ord("A")) + int(one[1:]) for one in code.split("-")]
    return place[1] - place[0]


def mapping(path: Path) -> dict[str, str]:
    """A YAML file of one mapping. Raises `DataError` for another, or one that has a key twice, naming its lines."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one is there where PyYAML was built with libyaml
    try:
        root: Any = yaml.compose(path.read_text("utf-8-sig"), loader)  # nodes: every scalar stays as it is written
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(root, yaml.MappingNode):
        raise DataError(f"{path} holds no mapping; expected a code and its name a line, like A00: Cholera")
    found: dict[str, tuple[str, int]] = {}
    for key, value in root.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
            raise DataError(f"{path} line {line} is no code with its name; expected a line like A00: Cholera")
        if key.value in found:
            raise DataError(
                f"{path} has the key {key.value} in line {found[key.value][1]} and in line {line}; keep one"
            )
        found[key.value] = (value.value, line)
    if not found:
        raise DataError(f"{path} is empty; expected a code and its name a line")
    return {key: name for key, (name, _) in found.items()}
