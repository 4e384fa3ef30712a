"""
Files of edits: our own (EasyEdit's) columns, and the published sets by their JSON keys.

UnKEBench and EditEverything: question, answer[, para_question, sub_question, sub_answer]. AKEW: requested_rewrite with
fact_new_uns. CounterFact: prompt or requested_rewrite, target_new, paraphrase_prompts, neighborhood_prompts. zsRE: src,
alt, rephrase, loc. Nothing is downloaded, and none of these sets is part of the package.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anysize.core.arguments import shown
from anysize.core.data.data import Data
from anysize.core.data.files.rows import SUFFIXES, Row, kind_of, rows_of
from anysize.core.data.tables import data_from_rows
from anysize.core.errors import DataError
from anysize.editing.requests.request import EditRequest, check_together

NEEDED = "the columns prompt and target_new, or those of UnKEBench, EditEverything, AKEW, CounterFact or zsRE"
COLUMNS = ("id", "prompt", "target_new", "rephrase_prompts", "locality_inputs", "questions")


def read(source: Any) -> Data:
    """
    Data whose table has our columns, of a file in any of these layouts, or whatever else `anysize.read` takes.

    Raises `DataError`, naming the row.
    """
    from anysize.core.data.read import read as read_any

    path = Path(source) if isinstance(source, str | os.PathLike) else None
    if path is None or not path.is_file() or kind_of(path) not in SUFFIXES or kind_of(path) == ".parquet":
        return read_any(source)
    notes: list[str] = []
    name = path.name.removesuffix(".gz")
    rows = list(_ours(rows_of(path, notes)))
    if not rows:
        raise DataError(f"{path} is empty; expected {NEEDED}")
    data = data_from_rows(Path(name).stem, iter(rows), str(path))
    return replace(data, notes=tuple(notes))  # all its columns are known here, whatever else is said of them


def _ours(rows: Iterator[Row]) -> Iterator[Row]:
    for number, row in enumerate(rows, start=1):
        values = dict(row.values)
        layout = next((make for keys, make in LAYOUTS if keys <= values.keys()), None)
        if layout is None:
            raise DataError(f"{row.where} has the columns {', '.join(values) or 'none'}; expected {NEEDED}")
        try:
            found = layout(values)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise DataError(f"{row.where} is not written as its columns say ({error!r}); expected {NEEDED}") from None
        name = values.get("id", values.get("case_id"))
        yield Row(row.where, dict.fromkeys(COLUMNS) | {**found, "id": str(number if name is None else name)})


def _easy(row: Mapping[str, Any]) -> dict[str, Any]:
    """Ours and EasyEdit's; also CounterFact, one edit a row."""
    target = row["target_new"]
    return {
        "prompt": row["prompt"],
        "target_new": target["str"] if isinstance(target, Mapping) else target,
        "rephrase_prompts": _listed(row.get("rephrase_prompts") or row.get("rephrase_prompt")),
        "locality_inputs": _prompts(row.get("locality_inputs") or row.get("locality_prompt")),
        "questions": row.get("questions") or [],
    }


def _unke(row: Mapping[str, Any]) -> dict[str, Any]:
    pairs = zip(row.get("sub_question") or [], row.get("sub_answer") or [], strict=False)
    return {
        "prompt": row["question"],
        "target_new": row["answer"],
        "rephrase_prompts": _listed(row.get("para_question")),
        "questions": [list(pair) for pair in pairs],
    }


def _rewrite(row: Mapping[str, Any]) -> dict[str, Any]:
    """AKEW and the first CounterFact: the first of its rewrites, as a passage where there is one."""
    first = row["requested_rewrite"]
    first = first[0] if isinstance(first, list) else first
    passage = first.get("fact_new_uns")
    asked = first.get("question") if passage else None
    return {
        "prompt": asked or first.get("prompt_full") or first["prompt"].format(first["subject"]),
        "target_new": passage or first["target_new"]["str"],
        "rephrase_prompts": _listed(row.get("paraphrase_prompts")),
        "locality_inputs": _listed(row.get("neighborhood_prompts")),
    }


def _zsre(row: Mapping[str, Any]) -> dict[str, Any]:
    asked = str(row.get("loc") or "").removeprefix("nq question: ")
    return {
        "prompt": row["src"],
        "target_new": row["alt"],
        "rephrase_prompts": _listed(row.get("rephrase")),
        "locality_inputs": [asked] if asked else [],
    }


LAYOUTS: tuple[tuple[set[str], Callable[[Mapping[str, Any]], dict[str, Any]]], ...] = (
    ({"requested_rewrite"}, _rewrite),
    ({"prompt", "target_new"}, _easy),
    ({"src", "alt"}, _zsre),
    ({"question", "answer"}, _unke),
)


def _listed(value: Any) -> list[str]:
    return [] if not value else [value] if isinstance(value, str) else list(value)


def _prompts(value: Any) -> list[str]:
    """EasyEdit's ``{"neighborhood": {"prompt": [...], "ground_truth": [...]}}``, or a list of prompts."""
    if not isinstance(value, Mapping):
        return _listed(value)
    return [
        one for group in value.values() for one in _listed(group["prompt"] if isinstance(group, Mapping) else group)
    ]


def requests_of(data: Data) -> list[EditRequest]:
    """
    The edits of a table.

    Raises `DataError` for a table without them, an edit that is none, one that is there twice, or two in conflict.
    """
    table = data.table
    if table is None or "prompt" not in table or "target_new" not in table:
        raise DataError(f"{data.name} holds {data.holds}; expected {NEEDED}")
    found = []
    for row in range(len(table)):
        values = {name: column[row] for name, column in table.columns.items()}
        name = values.get("id", values.get("case_id"))
        name = str(row + 1 if name is None else name)
        try:
            made = _easy(values)
            lists = {key: _texts(made[key]) for key in ("rephrase_prompts", "locality_inputs")}
            pairs = tuple((str(asked), str(said)) for asked, said in made["questions"])
        except (TypeError, ValueError, KeyError, AttributeError):
            raise DataError(f"edit {name} is {shown(values)}; expected lists of texts beside its prompt") from None
        found.append(EditRequest(made["prompt"], made["target_new"], **lists, questions=pairs, id=name))
    if len({one.id for one in found}) < len(found):
        raise DataError(f"the ids of the edits in {data.name} are not distinct; ids must differ")
    check_together(found)
    return found


def _texts(value: Any) -> tuple[str, ...]:
    if not all(isinstance(one, str) for one in value):
        raise TypeError("not texts")
    return tuple(value)
