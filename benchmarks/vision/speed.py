"""
What nested heads cost a step, and how many pictures a second `run` and `index` see beside timm's own loop.

    python -m benchmarks.vision.speed --data DATA_DIR --only step   # with imagenet_1k_samples/; ten minutes on one core
    python -m benchmarks.vision.speed --data DATA_DIR --only pictures

Needs timm, and the torchvision made for the torch that is installed. All on one thread; arms take turns, and processor
time counts.

A step: ViT-S/16 and ViT-Ti/16 at 224 pixels with fresh weights, batches of 4 (2 large and 8 small crops each, cyclic
masks, all three losses, AdamW, the teacher), heads of the paper: five on prefixes (a sixteenth of the width to all of
it, 256 to 4,096 prototypes) against one on all of it (4,096). Claimed before the run: the nested step takes at most
1.15 of the time, on both. That was lost (1.17 and 1.47): three quarters of the difference are the products of the
heads' hidden layers, which are as wide for a sixteenth of the width as for all of it. A third arm, claimed after that
and before it was run, at most 1.15 on both: five heads whose hidden layers are narrower in proportion to their size
(``--heads proportional``; the default since both rows).

Pictures: 256 photographs of imagenet_1k_samples as JPEG files, `anysize.run` on the folder (to a .npy file) and
`Index.build` of it, beside timm's dataset, loader (no workers) and model in batches of 64 with the same weights and
preparation, its features kept. Both models are loaded before. Claimed before the run: `run` and `index` see at least
.95 of the pictures that timm's loop sees in a second, for ViT-Ti/16.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import anysize as az
from anysize.backbones.vision.named import open_tower
from anysize.backbones.vision.towers import library_of
from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from anysize.vision import Franca, ImageEncoder
from anysize.vision.franca.fit import sizes
from anysize.vision.franca.training import FrancaTraining
from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.timing import ratio, taking_turns

PAPER = "Venkataramanan, Pariza et al. 2025, Franca, arXiv 2507.14137"
TOWERS = {"ViT-S/16": "timm:vit_small_patch16_224", "ViT-Ti/16": "timm:vit_tiny_patch16_224"}


def stepping(name: str, nested: bool, o: Any, **options: Any) -> Any:
    """What takes one step of training on the same pictures."""
    torch.manual_seed(0)
    tower = open_tower(name, from_scratch=True).train()
    method = Franca(model=name, dims=None if nested else (tower.width,), prototypes=o.prototypes, **options)
    nesting = Nesting(dims=sizes(method, tower.width))
    module = FrancaTraining(tower, method, nesting, o.prototypes, 1000)
    optimizer = torch.optim.AdamW(module.student.parameters(), lr=1e-4, weight_decay=0.04)
    squares = torch.randint(0, 256, (o.batch, 3, 280, 280), dtype=torch.uint8)
    rows = torch.arange(o.batch)

    def step() -> None:
        module.step.zero_()  # the same crops and masks in every step and arm
        optimizer.zero_grad()
        module(squares, rows)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(module.student.parameters(), 1.0)
        optimizer.step()
        module.after_step(0)

    return step


def steps(o: Any) -> None:
    """Time both arms on both towers and write the row."""
    values, shares = {}, {}
    for name, called in TOWERS.items():
        arms = {
            "one head": stepping(called, False, o),
            "nested": stepping(called, True, o, heads="alike"),
            "nested, in proportion": stepping(called, True, o, heads="proportional"),
        }
        found = taking_turns(arms, o.repeats)
        values[name], shares[name] = found, [ratio(found, arm, "one head") for arm in list(arms)[1:]]
        print(name, found, shares[name], flush=True)
    good = [max(each) <= 1.15 for each in zip(*shares.values(), strict=True)]
    write_row(
        "franca-step",
        paper=PAPER,
        claim="Five nested heads make a training step little longer than one head does",
        reported="Franca: nested heads add no parameters to the backbone; no time of a step",
        arms=["one head", "nested", "nested, in proportion"],
        metric=f"milliseconds of processor time for a step of {o.batch} pictures, one thread",
        values=values,
        outcome="won" if all(good) else "mixed" if any(good) else "lost",
        note="A step with five heads takes "
        + " and ".join(f"{share[0]:.2f} of one head's with {name}" for name, share in shares.items())
        + f" (medians over {o.repeats} turns; goal at most 1.15 on both). Where hidden layers are narrower in"
        " proportion to their size, claimed after the first was seen, it takes "
        + " and ".join(f"{share[1]:.2f}" for share in shares.values())
        + " (the same goal).",
        command=f"python -m benchmarks.vision.speed --data DATA_DIR --only step --repeats {o.repeats}",
        data="random pictures of 280 x 280 pixels, the same in every step",
    )


def photographs(archive: Path, folder: Path, count: int) -> Path:
    """A folder that holds a folder of so many JPEG files, evenly drawn from an archive."""
    home = folder / "photos"
    (home / "all").mkdir(parents=True)
    with zipfile.ZipFile(archive) as opened:
        names = sorted(one for one in opened.namelist() if one.lower().endswith((".jpg", ".jpeg")))
        for place, name in enumerate(names[:: len(names) // count][:count]):
            (home / "all" / f"{place:04}.jpg").write_bytes(opened.read(name))
    return home


def pictures(o: Any) -> None:
    """Time all three arms and write the row."""
    timm = library_of("timm")
    torch.manual_seed(0)
    tower = open_tower(TOWERS["ViT-Ti/16"], from_scratch=True)
    model = ImageEncoder(Nesting(dims=(24, 48, 96, 192)), tower).eval()
    net: Any = tower.net
    spec = tower.spec
    with tempfile.TemporaryDirectory() as scratch:
        home = photographs(o.data / "imagenet_1k_samples" / "images.zip", Path(scratch), o.pictures)
        numbers = iter(range(10**6))

        def theirs() -> np.ndarray:
            loader = timm.data.create_loader(
                timm.data.create_dataset("", root=str(home)), (3, 224, 224), 64, use_prefetcher=False, num_workers=0,
                interpolation="bicubic", mean=spec["mean"], std=spec["std"], crop_pct=spec["crop"],
            )  # fmt: skip
            with torch.inference_mode():
                return np.concatenate([net(pixels).numpy() for pixels, _ in loader])

        def ran() -> Path:
            out = Path(scratch) / f"vectors-{next(numbers)}.npy"
            az.run(model, home, out=out)
            return out

        def indexed() -> Any:
            return Index.build(Path(scratch) / f"idx-{next(numbers)}", model, az.read(home), progress=False)

        mine, other = np.load(ran()), theirs()
        unit = other / np.linalg.norm(other, axis=1, keepdims=True)
        cosine = float((mine * unit).sum(1).min())
        found = taking_turns({"timm": theirs, "run": ran, "index": indexed}, o.repeats)
    rates = {name: [1000 * o.pictures / one for one in times] for name, times in found.items()}
    shares = {name: 1 / ratio(found, name, "timm") for name in ("run", "index")}
    print(rates, shares, cosine, flush=True)
    good = [share >= 0.95 for share in shares.values()]
    write_row(
        "franca-pictures",
        paper=PAPER,
        claim="run and index see pictures as fast as timm's own loop does",
        reported="none",
        arms=list(rates),
        metric="pictures a second of processor time, one thread",
        values=rates,
        outcome="won" if all(good) else "mixed" if any(good) else "lost",
        note=f"`run` sees {shares['run']:.2f} and `index` {shares['index']:.2f} of the pictures that timm's loop sees "
        f"(medians over {o.repeats} turns; goal at least .95). The least cosine between a vector of ours and of "
        f"theirs is {cosine:.4f}: the middle of a picture is scaled once here, and cut out after scaling there. "
        f"{o.told}",
        command="python -m benchmarks.vision.speed --data DATA_DIR --only pictures",
        data=f"{o.pictures} photographs of imagenet_1k_samples; ViT-Ti/16 at 224 pixels with fresh weights",
    )


def main() -> None:
    """Time what is asked for."""
    parser = arguments(__doc__, "data", repeats=5, batch=4, prototypes=4096, pictures=256)
    parser.add_argument("--only", choices=("step", "pictures"))
    parser.add_argument("--told", default="", help="what a reader of the row should know of this machine")
    o = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name, run in (("step", steps), ("pictures", pictures)):
        if o.only in (None, name):
            run(o)


if __name__ == "__main__":
    main()
