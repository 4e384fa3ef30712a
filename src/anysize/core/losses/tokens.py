"""Losses of language models over windows of tokens."""

from __future__ import annotations

import torch
from torch.nn import functional


def next_token_loss(logits: torch.Tensor, windows: torch.Tensor, *, reduction: str = "mean") -> torch.Tensor:
    """Cross-entropy of logits (n, tokens, vocabulary) with what follows, in windows (n, tokens + 1)."""
    wanted = windows[:, 1:].flatten().to(logits.device)
    return functional.cross_entropy(logits.flatten(0, 1), wanted, reduction=reduction)


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over tokens of KL(teacher || student) of logits (n, tokens, vocabulary); the teacher has no gradient."""
    wanted, given = (torch.log_softmax(logits.flatten(0, 1), dim=-1) for logits in (teacher.detach(), student))
    return functional.kl_div(given, wanted, log_target=True, reduction="batchmean")
