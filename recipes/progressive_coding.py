"""
Progressive coding (Peter and Sogaard 2025, arXiv 2505.00190) of an autoencoder that someone else trained on a language
model: sort it, cut it at several sizes, and see what each costs, down to the language model's loss.

    python -m recipes.progressive_coding --sae SAE --model MODEL --site h.6 --texts FILE --latents 1024,4096 --out OUT

Data      SAE: any directory of SAELens, dictionary_learning, sparsify or anysize; FILE: texts, one a line, of which the
          last fifth is held out.
Cost      three passes of the language model over the texts to learn from, and two for each size over those held out.
Hardware  whatever runs the language model.
Result    OUT/latents-N in the layout of SAELens for each size, and a table that is printed. Run in the tests, with a
          small language model made there; we had no network to fetch a published autoencoder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import anysize as az
from anysize.backbones.site import Site
from anysize.core.errors import AnysizeError, DataError
from anysize.sparse import SparseAutoencoder
from anysize.sparse.formats import saelens
from anysize.sparse.pruning.granularity import granularity_curve
from anysize.sparse.pruning.importance import MEASURES, importance
from anysize.sparse.pruning.powerlaw import fit_power_law
from anysize.sparse.pruning.prune import prune, sort_by_importance
from anysize.sparse.pruning.recapture import LanguageModelLoss


def main(words: Sequence[str] | None = None) -> None:
    """From somebody's autoencoder to smaller ones and their price."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sae", required=True)
    parser.add_argument("--model", required=True, help="the language model that it was trained on")
    parser.add_argument("--site", required=True, help="the module whose output it reads")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--latents", required=True, help="sizes, increasing, with commas")
    parser.add_argument("--by", choices=MEASURES, default="energy")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(words)
    sizes = [int(size) for size in options.latents.split(",")]
    sae = az.load(options.sae)
    if not isinstance(sae, SparseAutoencoder):
        raise AnysizeError(f"{options.sae} is a model of kind {sae.kind!r}; expected a sparse autoencoder")
    texts = [line for line in options.texts.read_text("utf-8").splitlines() if line.strip()]
    if len(texts) < 10:
        raise DataError(f"{options.texts} holds {len(texts)} texts; expected at least ten, one a line")
    stop = len(texts) * 4 // 5
    site = Site(options.model, options.site)
    train, held = site.rows(texts[:stop]), site.rows(texts[stop:])
    loss = LanguageModelLoss(options.model, options.site, texts[stop:])
    scores = importance(sae, train, options.by)
    try:
        law = fit_power_law(scores)
        verdicts = ", ".join(f"{rival.name}: {rival.verdict}" for rival in law.rivals)
        print(f"power law of importance: slope {law.slope:.2f}, R2 {law.r2:.3f}; against {verdicts}")
    except DataError as error:
        print(f"no power law: {error}")
    print("latents  reading    active     FVU  cosine  recaptured")
    ordered = sort_by_importance(sae, scores, [*sizes, sae.latents] if sizes[-1] < sae.latents else sizes).sae
    for reading in ("mask", "reselect"):
        curve = granularity_curve(
            ordered, held, [size.latents for size in ordered.nesting], reading=reading, calibrate_on=train, loss=loss,
            rsa_rows=0,
        )  # fmt: skip
        for row in curve:
            print(_line(row.latents, reading, row.l0, row.fvu, row.cosine, row.recaptured))
    for size in sizes:
        small = prune(sae, size, train, scores=scores).sae
        saelens.write(small, options.out / f"latents-{size}")
        row = granularity_curve(small, held, (size,), loss=loss, rsa_rows=0)[0]
        print(_line(size, "pruned", row.l0, row.fvu, row.cosine, row.recaptured))


def _line(latents: int, reading: str, l0: float, fvu: float, cosine: float, share: float | None) -> str:
    return f"{latents:>7}  {reading:<9}  {l0:>6.1f}  {fvu:>6.3f}  {cosine:>6.3f}  {share:>10.3f}"


if __name__ == "__main__":
    main()
