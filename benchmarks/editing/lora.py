"""
LoRA beside nested shifts and fine-tuning of the block, at the loss that nested shifts reach.

    python -m benchmarks.editing.lora --model LM --data unke.jsonl.gz --cache CACHE --arms-cache ARMS

Adapters of rank 8 by PEFT on all linear layers of the edited block, or of every block; training stops at nested's loss.
What they learn is measured as a delta, as all edits are. ARMS is the cache of `benchmarks.editing.arms`, which has the
same edits made by nested shifts and by fine-tuning.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.editing.deltas.changes import Change, LowRank
from anysize.editing.editor import Editor
from anysize.editing.plan import Plan
from anysize.editing.requests.prompting import Encoded
from anysize.editing.requests.request import EditRequest
from benchmarks.common import arguments, kept
from benchmarks.editing.common import (
    LAYER,
    PAPER,
    Measuring,
    between,
    described,
    editor_of,
    few,
    interval,
    model_of,
    with_arms,
)
from benchmarks.editing.data import requests
from benchmarks.evidence import write_row

RANK, RATE, STEPS = 8, 2e-3, 60
PLACES: dict[str, list[int] | None] = {"lora, block": [LAYER], "lora, all blocks": None}
NESTED, TUNED, WHOLE = "nested", "ft, nested's loss", "ft"


def trained(editor: Editor, encoded: Encoded, layers: list[int] | None, stop: float) -> tuple[dict[str, Change], float]:
    """The changes as soon as the loss is at most `stop`, and the processor seconds until then."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    begin = time.process_time()
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=targets, layers_to_transform=layers)
    model = get_peft_model(editor.lm, config)
    try:
        learning = [one for one in model.parameters() if one.requires_grad]
        adam = torch.optim.AdamW(learning, lr=RATE, weight_decay=0.0)
        ids = torch.tensor([list(encoded.ids)])
        for _ in range(STEPS):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0, encoded.start - 1 :]
            loss = functional.cross_entropy(logits, ids[0, encoded.start :])
            if loss.item() <= stop:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
        return changes_of(model), time.process_time() - begin
    finally:
        model.unload()


def changes_of(model: Any) -> dict[str, Change]:
    """What adapters add to each weight, as outer products."""
    found: dict[str, Change] = {}
    for name, module in model.base_model.model.named_modules():
        if hasattr(module, "lora_A"):
            left = module.scaling["default"] * module.lora_B["default"].weight.detach().T
            right = module.lora_A["default"].weight.detach()
            found[f"{name}.weight"] = LowRank(left[:, None].clone(), right[:, None].clone())
    return found


def one(request: EditRequest, editor: Editor, measuring: Measuring, beside: dict[str, Any]) -> dict[str, Any]:
    """Arm -> its metrics and seconds."""
    encoded = editor.prompting.encode(request)
    plan = Plan(request, encoded, [0, len(encoded.target)], None)
    found: dict[str, Any] = {"id": request.id}
    for arm, layers in PLACES.items():
        changes, seconds = trained(editor, encoded, layers, max(beside[NESTED]["nll"], 0.01))
        model = model_of(editor, changes, [plan], whole=1)
        scores = {**measuring.losses(model, [request]), **measuring.said(model, [request])}
        found[arm] = {**scores, **measuring.elsewhere(model, request), "seconds": seconds}
    return found


def main() -> None:
    """Run what is missing and write the row."""
    parser = arguments(__doc__, "model", "data", "cache", count=20)
    parser.add_argument("--arms-cache", type=Path, required=True)
    asked = parser.parse_args()
    editor = editor_of(asked.model)
    measuring = Measuring(editor)
    ran = []
    chosen = requests(asked.data, editor.prompting, asked.count)
    for request, beside in with_arms(asked.arms_cache, chosen):
        made = kept(asked.cache / f"lora-{request.id}.json", one, request, editor, measuring, beside)
        ran.append({**{arm: beside[arm] for arm in (NESTED, TUNED, WHOLE)}, **made})
    report(ran)


def report(ran: list[dict[str, Any]]) -> None:
    """Write the row."""
    names = [NESTED, TUNED, WHOLE, *PLACES]
    metrics = (
        "nll", "rouge_l_f1", "paraphrase_nll", "other_nll_change", "other_top1_kept", "text_nll_change",
        "text_top1_kept", "seconds",
    )  # fmt: skip
    values = {metric: {arm: np.array([each[arm][metric] for each in ran]) for arm in names} for metric in metrics}
    rivals = [TUNED, *PLACES]
    won = {
        metric: [interval(values[metric][NESTED] - values[metric][rival])[1] < 0 for rival in rivals]
        for metric in ("other_nll_change", "text_nll_change")
    }
    both = all(all(held) for held in won.values())
    part = any(any(held) for held in won.values())
    best = {
        metric: min(
            [NESTED, *rivals],
            key=lambda arm: values[metric][arm].mean() * (-1 if "rouge" in metric or "kept" in metric else 1),
        )
        for metric in metrics[1:]
    }
    words = {
        "nll": "loss", "rouge_l_f1": "ROUGE-L F1", "paraphrase_nll": "paraphrase", "other_nll_change": "other prompts",
        "text_nll_change": "texts", "seconds": "seconds",
    }  # fmt: skip
    measured = {metric: values[metric] for metric in words}
    told = "; ".join(
        f"{arm}: " + ", ".join(f"{words[one]} {held[arm].mean():.2f}" for one, held in measured.items())
        for arm in names
    )
    write_row(
        "muke-beside-lora",
        paper=PAPER,
        claim="at the same loss nested shifts in closed form change other prompts and plain texts less than LoRA and "
        "than fine-tuning the block do",
        reported="not compared",
        arms=names,
        metric="change of the loss in nats per token",
        values={
            metric: {arm: {"edits": list(found)} for arm, found in held.items()} for metric, held in values.items()
        },
        outcome="won" if both else "mixed" if part else "lost",
        note=f"{few(ran)}Nested minus each rival at its loss: "
        + "; ".join(
            f"{rival}, other prompts {between(values['other_nll_change'][NESTED], values['other_nll_change'][rival])}, "
            f"texts {between(values['text_nll_change'][NESTED], values['text_nll_change'][rival])}"
            for rival in rivals
        )
        + f". Who is best on the mean, at that loss: {', '.join(f'{metric} {arm}' for metric, arm in best.items())}. "
        f"All arms: {told}. {len(ran)} edits, one seed of LoRA's; rank {RANK}, AdamW at {RATE:g}.",
        command="python -m benchmarks.editing.lora --model LM --data unke.jsonl.gz --cache CACHE --arms-cache ARMS",
        data=described(len(ran)),
    )


if __name__ == "__main__":
    main()
