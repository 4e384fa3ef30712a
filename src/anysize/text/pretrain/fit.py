"""Pre-training an encoder on windows of text: masked batches, one loss over all sizes, the house trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from anysize.core.errors import AnysizeError
from anysize.text.pretrain.made import Pretrained

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.text.pretrain.base import Base
    from anysize.text.pretrain.methods import Pretrainer
    from anysize.text.pretrain.windows import TokenWindows

_LOOKED_AT = 8
"""Batches on which the losses of each size are told in the end."""


def fit(method: Pretrainer, data: Data, workdir: Path, resume: bool) -> Pretrained:
    """
    Train `method.model` on the texts of `data`.

    Raises `AnysizeError` if no model was named or none of that kind can be pre-trained, `SizeError` if the menu
    exceeds it, `DataError` if there is no text.
    """
    from transformers import set_seed

    from anysize.backbones.blocks import find_stack, truncated
    from anysize.core.training.left_out import runner, watched
    from anysize.core.training.trainer import TrainingPlan, train
    from anysize.text.pretrain.base import load_base
    from anysize.text.pretrain.mlm_head import NestedHead
    from anysize.text.pretrain.objective import SMAEObjective, losses_by_size
    from anysize.text.pretrain.windows import TokenWindows

    name = method.base_model()
    set_seed(method.seed)  # a head, or all weights, may be drawn at random
    base = load_base(name)
    stack = find_stack(base.encoder)
    sizes = method.nesting(stack.depth, int(base.encoder.config.hidden_size))
    limit = _limit(method, base)
    encoder = truncated(base.encoder, sizes.full.layers, stack) if sizes.full.layers < stack.depth else base.encoder
    windows = TokenWindows(data.texts, base.tokenizer, limit)
    collate = _masked(method, base, windows)
    module = SMAEObjective(encoder, NestedHead(base.masked), sizes, decoder=method.has_decoder)
    rows, watch = watched(method, windows, method.batch_size, runner(module, collate))
    plan = TrainingPlan.of(method, len(rows), warmup_ratio=0.05, weight_decay=0.001)
    learnt = train(module, rows, plan, workdir, resume=resume, collate=collate, watch=watch)
    starts = range(0, min(len(windows), _LOOKED_AT * plan.batch_size), plan.batch_size)
    looked_at = [collate(range(start, min(start + plan.batch_size, len(windows)))) for start in starts]
    made = Pretrained(encoder.eval(), base.tokenizer, limit)
    made.about = {
        "max_length": limit,
        "sizes": sizes.to_json(),
        "from_scratch": not base.trained,
        "windows": len(windows),
        "tokens": windows.tokens,
        **learnt,
        "losses_by_size": losses_by_size(module, looked_at),
    }
    return made


def _limit(method: Pretrainer, base: Base) -> int:
    """Tokens of a window: the base's own limit, or a shorter one."""
    limit = base.max_length if method.max_length is None else method.max_length
    if limit > base.max_length:
        raise AnysizeError(f"max-length {limit} exceeds the {base.max_length} tokens that {method.model} can read")
    return limit


def _masked(
    method: Pretrainer, base: Base, windows: TokenWindows
) -> Callable[[Sequence[int]], dict[str, torch.Tensor]]:
    """What makes a batch of windows by their numbers, each masked for encoder and decoder."""
    from anysize.text.pretrain.masks import NestedWholeWordMask

    masks = NestedWholeWordMask(
        method.encoder_mask,
        method.decoder_share,
        base.tokenizer.mask_token_id,
        base.tokenizer.pad_token_id,
        np.setdiff1d(np.arange(base.encoder.config.vocab_size), base.tokenizer.all_special_ids),
        method.seed,
    )
    return lambda rows: masks(rows, *windows.take(rows))
