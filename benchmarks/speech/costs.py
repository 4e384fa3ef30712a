"""
What speech at a rate costs, and what experts do: processor time of one thread, arms in turn in one process, so that
what else runs on the machine does not decide between them.

    python -m benchmarks.speech.costs --lm SMOLLM2

SMOLLM2 is the folder that benchmarks/tokens/pretrained.py makes of SmolLM2-135M-Instruct.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.backbones.speech.encoders import PixelFrames, SoundEncoder
from anysize.tokens.adapters.experts import MoMELayer, Pass
from anysize.tokens.speech.fit import written_by
from anysize.tokens.speech.holding import Parts
from anysize.tokens.speech.methods import MTSK, MoME, Rated
from anysize.tokens.speech.model import Heard, NestedSpeech
from anysize.tokens.speech.scaled.scales import Scale
from anysize.tokens.speech.training import transcript_loss
from benchmarks.common import arguments, shown
from benchmarks.evidence import write_row
from benchmarks.timing import taking_turns

PAPER = "MoME: Mixture of Matryoshka Experts for Audio-Visual Speech Recognition, arXiv 2510.04136"
COMMAND = "python -m benchmarks.speech.costs --lm SMOLLM2"
DATA = "random frames and weights; SmolLM2-135M-Instruct's language model; processor seconds of one thread"
EXPERTS, TOP, BOTTLENECK, WIDTH, TOKENS = 24, 4, 12, 576, 512
RATES: dict[str, Any] = {"audio_rates": (4, 16), "video_rates": (2, 5)}
SAID, SECONDS, REPEATS = 16, 10, 3


def gathered(layer: MoMELayer, h: torch.Tensor, scale: Scale) -> torch.Tensor:
    """What `layer` gives for tokens (n, width), by running each expert on the tokens that chose it alone."""
    likely = functional.linear(h, layer.routers["shared"]).softmax(-1)
    best = likely.topk(layer.k, -1)
    b, found = layer.bottleneck, torch.zeros_like(h)
    for expert in range(layer.routed + layer.always):
        down, up = layer.down[expert * b : (expert + 1) * b], layer.up[:, expert * b : (expert + 1) * b]
        if expert >= layer.routed:
            found = found + functional.linear(functional.gelu(functional.linear(h, down)), up)
            continue
        rows, place = torch.where(best.indices == expert)
        if len(rows):
            given = functional.linear(functional.gelu(functional.linear(h[rows], down)), up)
            found = found.index_add(0, rows, (given * best.values[rows, place, None]).to(found.dtype))
    return found


def experts(mixed: bool = False, said: bool = False) -> dict[str, list[float]]:
    """
    Milliseconds of the processor for twenty times forward and backward, dense under a mask, and gathered.

    Where `mixed`, in bfloat16; where `said`, one token at a time, forward alone, as an answer is written.
    """
    torch.manual_seed(0)
    spec = {
        "experts": EXPERTS, "top_k": TOP, "normalize": False, "bottleneck": BOTTLENECK, "shared_experts": 1,
        "placement": "attn",
    }  # fmt: skip
    layer, scale, h = MoMELayer(WIDTH, ["shared"], spec), Scale(4, 2), torch.randn(1 if said else TOKENS, WIDTH)
    torch.nn.init.normal_(layer.up, std=0.02)

    def dense() -> torch.Tensor:
        return layer(h[None], Pass(scale, None), balance=False, record=False)[0]

    torch.testing.assert_close(dense(), gathered(layer, h, scale), rtol=1e-4, atol=1e-5)

    def twenty(arm: Callable[[], torch.Tensor]) -> Callable[[], Any]:
        def learn() -> None:
            for _ in range(20):
                with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                    found = arm()
                found.float().sum().backward()

        def say() -> None:
            with torch.no_grad():
                for _ in range(20):
                    arm()

        return say if said else learn

    return taking_turns({"dense": twenty(dense), "gathered": twenty(lambda: gathered(layer, h, scale))}, REPEATS)


def made(method: Rated, lm: Path) -> NestedSpeech:
    """An untrained model over the language model; what hears is not run, and is as wide as Whisper tiny's encoder."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(d_model=384, encoder_layers=1, decoder_layers=1, vocab_size=64, pad_token_id=0)
    ears = SoundEncoder(WhisperModel(config).get_encoder(), WhisperFeatureExtractor(feature_size=80))
    writes, tokenizer = written_by(lm)
    torch.manual_seed(0)
    return NestedSpeech(
        method.nesting(), Parts(writes, tokenizer, ears, PixelFrames()), method.spec(writes.config.hidden_size)
    )


def frames(clips: int, seconds: float) -> Heard:
    """Random frames, as encoders would have made them."""
    rng = torch.Generator().manual_seed(0)
    each = {"audio": (round(50 * seconds), 384), "video": (round(25 * seconds), 256)}
    made_ = {axis: [torch.randn(shape, generator=rng) for _ in range(clips)] for axis, shape in each.items()}
    return Heard(["avsr"] * clips, {axis: list(rows) for axis, rows in made_.items()}, [seconds] * clips)


def steps(lm: Path) -> dict[str, list[float]]:
    """Milliseconds of the processor for a step of MoME and of LoRA, with backward: four clips of 2 s at (4, 2)."""
    methods: dict[str, Rated] = {
        "mome": MoME(**RATES, experts=EXPERTS - 1, top_k=TOP, shared_experts=1, bottleneck=BOTTLENECK),
        "lora": MTSK(**RATES, strategy="ms", rank=64, alpha=8.0),
    }
    heard, said = frames(4, 2.0), ["one two three"] * 4

    def step(method: Rated) -> Callable[[], Any]:
        model = made(method, lm).train()
        return lambda: transcript_loss(model, heard, said, Scale(4, 2)).backward()

    return taking_turns({name: step(method) for name, method in methods.items()}, REPEATS)


@torch.no_grad()
def pairs(lm: Path) -> dict[str, dict[str, list[float]]]:
    """Pair -> tokens and bytes of ten seconds of speech, and processor seconds to write so many tokens, a second."""
    model, heard = made(MTSK(**RATES, strategy="ms"), lm).eval(), frames(1, SECONDS)
    model.lm.generation_config.min_new_tokens = SAID
    views = {Scale.of(size, "avsr").name: model.at(size) for size in reversed(model.nesting)}

    def writing(view: NestedSpeech) -> Callable[[], Any]:
        return lambda: view.answers(heard, max_new_tokens=SAID)

    times = taking_turns({name: writing(view) for name, view in views.items()}, REPEATS)
    return {
        name: {
            "tokens": [float(sum(view.tokens().values()))],
            "megabytes": [float(view.cost().bytes or 0) / 1e6],
            "real-time factor": [one / 1e3 / SECONDS for one in times[name]],
        }
        for name, view in views.items()
    }


def main() -> None:
    """Measure and write the rows."""
    asked = arguments(__doc__, "lm").parse_args()
    torch.set_num_threads(1)
    common: dict[str, Any] = {"paper": PAPER, "data": DATA, "command": COMMAND}
    found = experts()
    ratio = np.array(found["dense"]) / np.array(found["gathered"])
    experts_row: dict[str, Any] = {
        **common,
        "reported": "no figure for the layer",
        "arms": ["dense", "gathered"],
        "metric": "milliseconds",
    }
    write_row(
        "mome-dense",
        claim=f"{EXPERTS} experts of {BOTTLENECK} as one dense bottleneck under a mask take at most half of the time "
        "of gathering each one's tokens, forward and backward, in every repetition",
        values={name: {str(TOKENS): [one / 20 for one in times]} for name, times in found.items()},
        outcome="won" if ratio.max() <= 0.5 else "lost",
        note=f"Dense over gathered: {shown(ratio)}; {TOKENS} tokens of width {WIDTH}, top {TOP}.",
        **experts_row,
    )
    ways = {f"{TOKENS} in bfloat16": experts(mixed=True), "1, forward": experts(said=True)}
    ratios = {way: np.array(one["dense"]) / np.array(one["gathered"]) for way, one in ways.items()}
    within = [float(one.max()) <= 0.5 for one in ratios.values()]
    write_row(
        "mome-dense-mixed",
        claim="in bfloat16, as one trains with mixed precision, and one token at a time, as an answer is written, "
        f"{EXPERTS} experts of {BOTTLENECK} as one dense bottleneck take at most half of the time of gathering, in "
        "every repetition",
        values={
            arm: {way: [each / 20 for each in one[arm]] for way, one in ways.items()} for arm in ("dense", "gathered")
        },
        outcome="won" if all(within) else "mixed" if any(within) else "lost",
        note="The second way of mome-dense. Dense over gathered: "
        + "; ".join(f"{way} {shown(one)}" for way, one in ratios.items())
        + ".",
        **experts_row,
    )
    found = steps(asked.lm)
    ratio = np.array(found["mome"]) / np.array(found["lora"])
    write_row(
        "mome-step",
        claim="a training step of MoME, 23 experts and a shared one, takes at most 1.25 of the time of one with LoRA "
        "of rank 64 on q and v",
        reported="about 1.25",
        arms=["mome", "lora"],
        metric="milliseconds",
        values={name: {"audio4-video2": times} for name, times in found.items()},
        outcome="won" if ratio.mean() <= 1.25 else "lost",
        note=f"MoME over LoRA: {shown(ratio)}; four clips of 2 s.",
        **common,
    )
    by_pair = pairs(asked.lm)
    rich, poor = next(iter(by_pair.values())), list(by_pair.values())[-1]
    factor = float(np.median(np.array(poor["real-time factor"]) / np.array(rich["real-time factor"])))
    bytes_ = poor["megabytes"][0] / rich["megabytes"][0]
    write_row(
        "mtsk-costs",
        claim=f"from (4, 2) to (16, 5) keys and values of ten seconds of speech shrink to at most .4, and the time to "
        f"write {SAID} tokens, without the encoders, to at most .7",
        reported="257 to 88 tokens, 3.87 to 1.33 TFLOPs with 8B",
        arms=list(rich),
        metric="by pair",
        values={name: {pair: held[name] for pair, held in by_pair.items()} for name in rich},
        outcome="won" if bytes_ <= 0.4 and factor <= 0.7 else "mixed" if bytes_ <= 0.4 or factor <= 0.7 else "lost",
        note=f"Bytes {bytes_:.3f}, time {factor:.3f}; the factor is in processor seconds of one thread a second of "
        "speech.",
        **{
            **common,
            "paper": "Adaptive Audio-Visual Speech Recognition via Matryoshka-Based Multimodal LLMs, arXiv 2503.06362",
        },
    )


if __name__ == "__main__":
    main()
