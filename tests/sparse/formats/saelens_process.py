"""
Run in a process of its own, because SAELens warns while it is imported: what the real package makes of directories.

``python saelens_process.py FOLDER`` loads every directory ``FOLDER/ours-*`` with SAELens and keeps its codes and
reconstructions of ``FOLDER/x.npy``; then it writes autoencoders of its own to ``FOLDER/theirs-*`` and keeps theirs.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sae_lens import SAE, JumpReLUSAE, JumpReLUSAEConfig, StandardSAE, StandardSAEConfig, TopKSAE, TopKSAEConfig


def keep(folder: Path, sae: SAE, x: torch.Tensor) -> None:
    with torch.no_grad():
        codes = sae.encode(x)
        np.savez(folder.with_suffix(".npz"), codes=codes.numpy(), rebuilt=sae.decode(codes).numpy())


def random(sae: SAE) -> SAE:
    with torch.no_grad():
        for name, tensor in sae.named_parameters():
            tensor.copy_(0.3 * torch.randn(tensor.shape))
            if name == "threshold":
                tensor.abs_()
    return sae


def main(folder: Path) -> None:
    torch.manual_seed(0)
    x = torch.from_numpy(np.load(folder / "x.npy"))
    for directory in folder.glob("ours-*"):
        sae = SAE.load_from_disk(directory)
        (folder / f"{directory.name}.levels").write_text(str(sae.cfg.metadata.anysize["nesting"]["sizes"]))
        keep(directory, sae, x)
    shape = {"d_in": x.shape[1], "d_sae": 40}
    made = {
        "standard": StandardSAE(StandardSAEConfig(**shape)),
        "topk": TopKSAE(TopKSAEConfig(**shape, k=6)),
        "topk-rescaled": TopKSAE(TopKSAEConfig(**shape, k=6, rescale_acts_by_decoder_norm=True)),
        "jumprelu": JumpReLUSAE(JumpReLUSAEConfig(**shape)),
        "jumprelu-raw": JumpReLUSAE(JumpReLUSAEConfig(**shape, apply_b_dec_to_input=False)),
    }
    for name, sae in made.items():
        random(sae).save_model(folder / f"theirs-{name}")
        keep(folder / f"theirs-{name}", sae, x)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
