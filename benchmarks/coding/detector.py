"""
Mentions found by multilingual-e5-small, fine-tuned as a token classifier, beside the conditional random field.

    python -m benchmarks.coding.detector --data RUCCOD --cache CACHE --e5 FOLDER --choose   # on a tenth of training
    python -m benchmarks.coding.detector --data RUCCOD --cache CACHE --e5 FOLDER            # test, three seeds

Half an hour of one core for each. The recipe (layers that stay as they are, learning rate) is chosen on a tenth of the
training documents, by a hash of their texts; the test documents had been scored before (third touch).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.coding.detecting.crf import CRFDetector
from anysize.coding.detecting.tokens import TokenDetector
from anysize.coding.method import ICD
from anysize.coding.reading.data import read_folder
from anysize.coding.records.documents import Document, Span
from anysize.coding.scoring.evaluator import end_to_end
from anysize.core.data.held_out import held_out
from anysize.core.frontier.intervals import resampled_means, span
from benchmarks.coding.ruccod import PAPER
from benchmarks.common import arguments, kept, per_seed
from benchmarks.evidence import write_row

COMMAND = "python -m benchmarks.coding.detector --data RUCCOD --cache CACHE --e5 FOLDER"
DATA = "RuCCoD: 3,000 training and 500 test documents; test scored before (third touch)"
EPOCHS = 4
TRIED = ((6, 2e-4), (6, 5e-4))
"""Layers that stay as they are, with the embeddings; learning rate."""
CHOSEN = TRIED[0]
CLAIM = (
    "multilingual-e5-small, fine-tuned as a token classifier, finds mentions with an exact NER F1 at least that of the "
    "conditional random field, on the mean of three seeds; the coder's code F1 with its mentions is told beside it"
)


def fitted(documents: Sequence[Document], model: Path, frozen: int, rate: float, seed: int) -> TokenDetector:
    """The encoder as detector; products run in bfloat16, half the time where the processor has it."""
    # Without a cache, or every step would run with the weights as the first step cast them.
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        return TokenDetector.fit(documents, str(model), epochs=EPOCHS, frozen=frozen, learning_rate=rate, seed=seed)


def figures(documents: Sequence[Document], places: Sequence[Sequence[Any]]) -> dict[str, float]:
    """NER F1 of places, exact, and with blanks and stops of the annotators' spans left out."""
    spans = [[Span(start, end, "", "?") for start, end, _ in one] for one in places]
    units = end_to_end(documents, spans, [{} for _ in documents])
    return {name: float(units[name].mean()) for name in ("NER F1", "NER F1 trimmed")}


def tried(frozen: int, rate: float, folder: Path, model: Path) -> dict[str, Any]:
    """A recipe on the tenth of the training documents that is held out."""
    known = [one for one in read_folder(folder).to_learn() if one.text.strip()]
    left = held_out([one.text for one in known], "RuCCoD", "document")
    mine = [one for one in known if one.text in left]
    begin = time.process_time()
    detector = fitted([one for one in known if one.text not in left], model, frozen, rate, 0)
    seconds = time.process_time() - begin
    return {**figures(mine, detector.detect([one.text for one in mine])), "seconds": seconds}


def field(folder: Path) -> dict[str, float]:
    """The conditional random field on the same tenth."""
    known = [one for one in read_folder(folder).to_learn() if one.text.strip()]
    left = held_out([one.text for one in known], "RuCCoD", "document")
    mine = [one for one in known if one.text in left]
    with tempfile.TemporaryDirectory() as scratch:
        detector = CRFDetector.fit([one for one in known if one.text not in left], Path(scratch), iterations=100)
        return figures(mine, detector.detect([one.text for one in mine]))


def on_test(seed: int, folder: Path, model: Path, frozen: int, rate: float) -> dict[str, Any]:
    """Both detectors in front of one coder, from raw text."""
    data = read_folder(folder)
    known, held = [one for one in data.to_learn() if one.text.strip()], data.to_measure(False)
    texts = [one.text for one in held]
    begin = time.process_time()
    detector = fitted(known, model, frozen, rate, seed)
    seconds = time.process_time() - begin
    coder = ICD(seed=seed).fit(data)
    found: dict[str, Any] = {"seconds": seconds}
    for arm, finder in (("e5", detector), ("field", coder)):
        coded = coder.code(texts, places=finder.detect(texts))
        units = end_to_end(held, [one.spans for one in coded], [dict(one.codes) for one in coded])
        found[arm] = {name: float(values.mean()) for name, values in units.items()}
        found[f"{arm} interval"] = list(span(resampled_means(np.stack([units["NER F1"]], 1))[:, 0]))
    return found


def main() -> None:
    """Choose on the training documents, or run what is missing on the test documents and write the row."""
    parser = arguments(__doc__, "data", "cache", "e5", seeds=3)
    parser.add_argument("--choose", action="store_true", help="compare recipes on a tenth of the training documents")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.choose:
        print("field", kept(given.cache / "detector-field.json", field, given.data))
        for frozen, rate in TRIED:
            where = given.cache / f"detector-{frozen}-{rate}.json"
            print(frozen, rate, kept(where, tried, frozen, rate, given.data, given.e5), flush=True)
        return
    runs = per_seed(given.cache, "detector", range(given.seeds), on_test, given.data, given.e5, *CHOSEN)
    report(runs)


def report(runs: Sequence[dict[str, Any]]) -> None:
    """Write the row."""
    arms = ("e5", "field")
    values = {arm: {name: [one[arm][name] for one in runs] for name in runs[0][arm]} for arm in arms}
    mean = {arm: {name: float(np.mean(each)) for name, each in values[arm].items()} for arm in arms}
    intervals = ", ".join("{:.3f} to {:.3f}".format(*one["e5 interval"]) for one in runs)
    write_row(
        "ruccod-detector",
        paper=PAPER,
        claim=CLAIM,
        reported="a fine-tuned biomedical BERT: NER F1 .744",
        arms=arms,
        metric="F1 from raw text",
        values=values,
        data=DATA,
        command=COMMAND,
        outcome="won" if mean["e5"]["NER F1"] >= mean["field"]["NER F1"] else "lost",
        note=f"NER F1 {mean['e5']['NER F1']:.3f} (95 % intervals {intervals}) against {mean['field']['NER F1']:.3f}; "
        f"code F1 {mean['e5']['code F1']:.3f} against {mean['field']['code F1']:.3f}, with a judge that learnt what "
        f"the field finds. {EPOCHS} epochs, the embeddings and {CHOSEN[0]} of 12 layers as they were, learning rate "
        f"{CHOSEN[1]}, chosen among {len(TRIED)} on a tenth of the training documents; "
        f"{np.mean([one['seconds'] for one in runs]):.0f} s of processor time to fit. Seeds: {len(runs)}.",
    )


if __name__ == "__main__":
    main()
