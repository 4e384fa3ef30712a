"""A small vision-language model whose tower tells digits apart, and whose language model has learnt nothing yet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from anysize.core.files import new_directory
from benchmarks.tokens.base import MARKER, WIDTH, model_of, processor
from benchmarks.tokens.interleaved import WORDS, Drawer

IDS = {word: place for place, word in enumerate(WORDS)}
QUARTERS = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3])
"""Which of the four scans each patch shows a part of."""


def seer(folder: Path, seed: int, *, steps: int = 300, batch: int = 64) -> Path:
    """The folder of the model with its processor, made there if it is not; the test's scans play no part."""
    if (folder / MARKER).exists():
        return folder
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 9])
    drawer, ready = Drawer(rng, test=False), processor(IDS)
    model = model_of(IDS)
    what = torch.nn.Linear(WIDTH, 4 * 10)  # ten digits for each quarter
    optimizer = torch.optim.AdamW([*model.model.vision_tower.parameters(), *what.parameters()], 2e-3)
    right = []
    for _ in range(steps):
        digits = rng.integers(0, 10, (batch, 4))
        pictures = [drawer.picture(row) for row in digits]
        pixels = ready.image_processor(pictures, return_tensors="pt")["pixel_values"]
        seen = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]  # batch, 16, width
        told = what(seen).unflatten(-1, (4, 10))[:, torch.arange(16), QUARTERS]
        wanted = torch.from_numpy(digits)[:, QUARTERS]
        loss = functional.cross_entropy(told.flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right.append(float((told.argmax(-1) == wanted).float().mean()))
    with new_directory(folder, marker=MARKER) as target:
        model.save_pretrained(str(target))
        ready.save_pretrained(str(target))
        found = {"seed": seed, "steps": steps, "patches told right at the end": float(np.mean(right[-20:]))}
        (target / MARKER).write_text(json.dumps(found))
    return folder
