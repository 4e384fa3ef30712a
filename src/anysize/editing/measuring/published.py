"""What is said, in the JSON keys of AnyEdit's scripts, which muKE's and UnKE's share: their summarisers read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anysize.editing.measuring.scores import text_scores
from anysize.editing.requests.request import EditRequest

FACTS = 5
"""Questions about an edit that the published scripts count at most."""


def anyedit_rows(
    requests: Sequence[EditRequest], said: Sequence[str], again: Sequence[str], facts: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    """A row for each edit: question, answer and what is said to it, to its paraphrase and to single questions."""
    rows = []
    for place, one in enumerate(requests):
        row: dict[str, Any] = {"id": one.id, "question": one.prompt, "answer": one.target_new}
        row["original_prediction"] = said[place]
        if again:
            row |= {"para_question": one.rephrase_prompts[0], "para_prediction": again[place]}
        if facts:
            asked, wanted = zip(*one.questions, strict=True)
            row |= {"sub_question": list(asked), "sub_answer": list(wanted), "sub_pred": list(facts[place])}
        rows.append(row)
    return rows


def facts_recall(facts: Sequence[Sequence[str]], requests: Sequence[EditRequest]) -> list[float]:
    """The mean ROUGE-L recall over up to five answers about single facts of each edit."""
    found = []
    for said, one in zip(facts, requests, strict=True):
        wanted = [answer for _, answer in one.questions[:FACTS]]
        found.append(float(np.mean(text_scores(said[:FACTS], wanted)["rouge_l_recall"])))
    return found
