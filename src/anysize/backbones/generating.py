"""Going on with token ids: one pass over the prompts, then a token at a time from what attention keeps (KV cache)."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch

from anysize.core.sides import Side


class Generating:
    """Adds `run` to a ``generate(items, ...)``."""

    generate: Callable[..., list[str]]

    def run(
        self,
        items: Sequence[str],
        *,
        side: Side | None = None,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        batch_size: int = 8,
        told: Callable[[str], None] | None = None,
    ) -> list[str]:
        """What it goes on with after each text: `generate`."""
        return self.generate(
            items, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, stop=stop,
            batch_size=batch_size, told=told,
        )  # fmt: skip


@torch.no_grad()
def continued(
    lm: Any,
    prompts: Sequence[Sequence[int]],
    pick: Callable[[int, torch.Tensor], int],
    *,
    most: int,
    ends: Collection[int],
    stopped: Callable[[list[int]], bool] = lambda found: False,
    filler: int = 0,
) -> list[list[int]]:
    """
    At most so many new ids for each prompt (none empty), without the one of `ends` that ends them.

    Prompts stand at the right end of their rows; what fills the left is not attended to and has no place of its own,
    so that a batch gives what its rows give alone. ``pick(row, logits)`` chooses the next id from (vocabulary,).
    """
    known = inspect.signature(lm.forward).parameters
    cache = "cache" if "cache" in known else "past_key_values"  # what transformers calls it now, and called it before
    device, longest = next(iter(lm.parameters())).device, max(map(len, prompts))
    ids = torch.full((len(prompts), longest), filler)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    found: list[list[int]] = [[] for _ in prompts]
    going, kept = set(range(len(prompts))), None
    for _ in range(most):
        given: dict[str, Any] = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
        if "position_ids" in known:
            given["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :].to(device)
        if "logits_to_keep" in known:
            given["logits_to_keep"] = 1  # of a prompt only the last token's are looked at
        made = lm(**given, **{cache: kept}, use_cache=True)
        kept, logits = made[cache], made.logits[:, -1].float().cpu()
        ids = torch.full((len(prompts), 1), filler)
        for row in sorted(going):
            chosen = pick(row, logits[row])
            ids[row] = chosen
            if chosen in ends:
                going.discard(row)
                continue
            found[row].append(chosen)
            if stopped(found[row]):
                going.discard(row)
        if not going:
            break
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    return found


def picking(texts: Sequence[str], temperature: float, seed: int) -> Callable[[int, torch.Tensor], int]:
    """
    How the next id is chosen: the most probable at temperature 0, else drawn.

    A text has its own stream of chance, from the seed and its words: what is drawn for it depends on no other text.
    """
    if temperature == 0:
        return lambda row, logits: int(logits.argmax())
    streams = []
    for text in texts:
        digest = hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
        streams.append(torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1))
    return lambda row, logits: int(
        torch.multinomial(torch.softmax(logits / temperature, dim=0), 1, generator=streams[row])
    )
