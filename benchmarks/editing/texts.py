"""
The same nested shifts, written so that more text is kept: second moments of WikiText beside those of our few pages.

    python -m benchmarks.editing.texts --model LM --data unke.jsonl.gz --cache CACHE --arms-cache ARMS --texts FILE

FILE is the validation part of WikiText-2, ARMS the cache of `benchmarks.editing.arms`. Locality is measured on the same
prompts and texts as everywhere here, none of which is in FILE.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from anysize.editing.editor import Editor
from anysize.editing.requests.request import EditRequest
from benchmarks.common import arguments, kept
from benchmarks.editing.common import (
    PAPER,
    Measuring,
    between,
    described,
    editor_of,
    few,
    interval,
    model_of,
    plan,
    with_arms,
)
from benchmarks.editing.data import requests
from benchmarks.evidence import write_row

PASSAGES, LETTERS = 80, 600
NESTED, TUNED = "nested", "ft, nested's loss"
WIDER = "nested, WikiText kept"
METRICS = ("nll", "paraphrase_nll", "other_nll_change", "other_top1_kept", "text_nll_change", "text_top1_kept")


def passages(file: Path) -> list[str]:
    """Paragraphs of that length at least, cut to it, evenly drawn."""
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    long = [one.strip()[:LETTERS] for one in lines if len(one.strip()) >= LETTERS]
    return long[:: max(len(long) // PASSAGES, 1)][:PASSAGES]


def one(request: EditRequest, editor: Editor, measuring: Measuring, cache: Path) -> dict[str, Any]:
    """The metrics of the same plan, written with these texts kept."""
    made = plan(editor, request, cache)
    model = model_of(editor, editor.write([made]), [made])
    return {"id": request.id, **measuring.losses(model, [request]), **measuring.elsewhere(model, request)}


def main() -> None:
    """Run what is missing and write the row."""
    parser = arguments(__doc__, "model", "data", "cache", count=50)
    parser.add_argument("--arms-cache", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    asked = parser.parse_args()
    editor = editor_of(asked.model, passages(asked.texts))
    measuring = Measuring(editor)
    ran = []
    chosen = requests(asked.data, editor.prompting, asked.count)
    for request, beside in with_arms(asked.arms_cache, chosen):
        made = kept(asked.cache / f"texts-{request.id}.json", one, request, editor, measuring, asked.cache)
        ran.append({NESTED: beside[NESTED], TUNED: beside[TUNED], WIDER: made})
    report(ran)


def report(ran: list[dict[str, Any]]) -> None:
    """Write the row."""
    names = (NESTED, WIDER, TUNED)
    values = {metric: {arm: np.array([each[arm][metric] for each in ran]) for arm in names} for metric in METRICS}
    text, nll = values["text_nll_change"], values["nll"]
    won = interval(text[WIDER] - text[NESTED])[1] < 0 and interval(text[WIDER] - text[TUNED])[1] < 0
    part = interval(text[WIDER] - text[NESTED])[1] < 0
    write_row(
        "muke-texts",
        paper=PAPER,
        claim="with the second moments of 80 passages of WikiText kept in place of our few pages, the same shifts "
        "change plain texts less than before, and less than fine-tuning at their loss does",
        reported="100,000 articles of Wikipedia are kept; not varied",
        arms=list(names),
        metric="change of the loss of plain texts in nats per token",
        values={
            metric: {arm: {"edits": list(found)} for arm, found in held.items()} for metric, held in values.items()
        },
        outcome="won" if won else "mixed" if part else "lost",
        note=f"{few(ran)}Texts {text[WIDER].mean():+.3f} against {text[NESTED].mean():+.3f} with our pages and "
        f"{text[TUNED].mean():+.3f} fine-tuned; WikiText minus our pages {between(text[WIDER], text[NESTED])}, minus "
        f"fine-tuned {between(text[WIDER], text[TUNED])}. Loss of the edit {nll[WIDER].mean():.3f} against "
        f"{nll[NESTED].mean():.3f}; other prompts {values['other_nll_change'][WIDER].mean():+.3f} against "
        f"{values['other_nll_change'][NESTED].mean():+.3f}. {len(ran)} edits; measured on our own unrelated texts.",
        command="python -m benchmarks.editing.texts --model LM --data unke.jsonl.gz --cache CACHE --arms-cache ARMS "
        "--texts FILE",
        data=described(len(ran)) + "; WikiText-2 (CC BY-SA), its validation part",
    )


if __name__ == "__main__":
    main()
