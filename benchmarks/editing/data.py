"""Edits to measure on: UnKEBench's questions, with answers cut at the end of a sentence to 55 to 75 tokens."""

from __future__ import annotations

import re
from pathlib import Path

from anysize.editing.requests.prompting import Prompting
from anysize.editing.requests.readers import read, requests_of
from anysize.editing.requests.request import EditRequest

LEAST, MOST = 55, 75


def requests(file: Path, prompting: Prompting, count: int) -> list[EditRequest]:
    """The first so many whose answers have such a beginning; every tenth row, so that they differ."""
    found: list[EditRequest] = []
    for one in requests_of(read(file))[::10]:
        ends = [end.end() for end in re.finditer(r"[.!?](?=\s|$)", one.target_new)]
        cut = [one.target_new[:end] for end in ends if LEAST <= len(prompting.target(one.target_new[:end])) <= MOST]
        if cut and len(found) < count:
            found.append(EditRequest(one.prompt, cut[-1], one.rephrase_prompts, id=one.id))
    return found
