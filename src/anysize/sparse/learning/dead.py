"""The dead-latent loss (Gao et al. 2024, arXiv 2406.04093, appendix A.2): latents that never fire learn the rest."""

from __future__ import annotations

import torch

from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.learning.selecting import row_topk


def dead_latent_loss(
    centred: torch.Tensor,
    left: torch.Tensor,
    W_enc: torch.Tensor,
    sae: SparseAutoencoder,
    dead: torch.Tensor,
    k_aux: int,
) -> torch.Tensor:
    """
    ``|e - e_hat|^2 / |e - mean e|^2`` with e = `left` (n, d) and e_hat decoded, without bias, from dead latents alone.

    Each row uses its `k_aux` strongest dead latents. `centred` (n, d) and `left` carry no gradient.
    """
    encoder = W_enc.T.index_select(0, dead)  # (dead, d)
    pre = torch.addmm(sae.b_enc[dead], centred, encoder.T)  # (n, dead)
    codes = torch.relu(pre)
    if k_aux < len(dead):
        kept = torch.zeros_like(pre).scatter_(1, row_topk(pre.detach(), k_aux)[1], 1.0)
        codes = codes * kept
    rebuilt = codes @ sae.W_dec.index_select(0, dead)
    spread = (left - left.mean(0)).square().mean()
    return (rebuilt - left).square().mean() / spread.clamp_min(1e-12)
