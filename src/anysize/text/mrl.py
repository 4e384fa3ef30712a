"""Matryoshka Representation Learning for embeddings (Kusupati et al. 2022, arXiv 2205.13147, equation 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.scratch import temporary_folder
from anysize.core.sides import Sides, side_of_texts, sides_of_columns
from anysize.core.widths import default_dims

if TYPE_CHECKING:
    import numpy as np

    from anysize.core.data import Data
    from anysize.text.embedder import Embedder


@dataclass(frozen=True)
class MRL:
    """
    Makes embeddings nested: every prefix of the vector becomes an embedding of its own.

    With pairs (or judgements) it learns from them; with texts or vectors alone it learns, without labels, to keep
    every item's neighbourhood at each prefix.
    """

    model: str | None = None
    """The sentence-transformers model to start from: a folder or a hub name. Not needed for vectors."""
    dims: tuple[int, ...] | None = None
    """Sizes to train, increasing, for example 8,16,32,64. Default: powers of two from 8, and the width."""
    tune: Literal["head", "full"] = "head"
    """head: learn a linear map over the frozen model (seconds to minutes). full: fine-tune the model itself."""
    epochs: float | None = None
    """Passes over the training data. Default: 20 or more, to make 300 steps, for a head; 1 for the full model."""
    batch_size: int | None = None
    """Rows per step; the others in the batch are the negatives. Default: 512 for a head, 64 for the full model."""
    learning_rate: float | None = None
    """Peak learning rate, warmed up and decayed linearly. Default: 1e-3 for a head, 5e-5 for the full model."""
    scale: float = 20.0
    """Inverse temperature of the softmax over cosine similarities."""
    keep: float | None = None
    """With pairs and a head: how strongly to keep the corpus's own neighbourhoods as well, which helps where labelled
    queries are few. Default: a fifth of the number of documents per distinct query, at most 10; 0 turns it off."""
    sides: Sides = "retrieval"
    """retrieval: encode anchors as queries and all other texts as documents, where the model has prompts for the two.
    symmetric: encode all alike, as for paraphrases. Scored pairs are always alike."""
    bf16: bool = False
    """Run the encoder in bfloat16 (about twice as fast where the processor has it; vectors agree to 4 digits)."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "scale"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise AnysizeError(f"{name.replace('_', '-')} must be above zero; got {value}")

    def fit(self, data: Data, *, workdir: Path | None = None, resume: bool = False) -> Embedder:
        """
        Learn from `data`; `workdir` keeps shards and checkpoints, from which `resume` continues.

        Raises `DataError` if the data cannot be learnt from, `SizeError` if the sizes exceed the model.
        """
        if workdir is None:
            with temporary_folder() as scratch:
                return self.fit(data, workdir=scratch)
        from anysize.core.fitting import options_of

        model = self._fit_head(data, workdir, resume) if self.tune == "head" else self._fit_full(data, workdir, resume)
        model.about |= {
            "method": "mrl",
            "options": options_of(self),
            "data": {"name": data.name, "fingerprint": data.fingerprint},
        }
        return model

    def training_features(self, data: Data, encoder: Any = None, workdir: Path | None = None) -> dict[str, np.ndarray]:
        """Frozen features to learn a head from: anchor, positive, any negatives and the corpus; or vector alone."""
        from anysize.core.records import negative_names
        from anysize.text.features import FeatureStore

        items = data.items()
        if items.vectors is not None:
            if self.model is not None:
                raise DataError(f"{data.name} holds vectors already; leave out the model")
            return {"vector": items.vectors}
        encoder = encoder or self.encoder()
        encoder.store = encoder.store or FeatureStore(workdir)
        pairs = data.training_pairs()
        if pairs is None:
            texts = [text for text in items.texts or [] if text.strip()]
            side = side_of_texts(self.sides)
            return {"vector": encoder.encode(texts, side=side, progress=True, bf16=self.bf16)}
        columns = dict(zip(("anchor", "positive", *negative_names(pairs)), pairs.columns, strict=True))
        if data.corpus is not None:
            columns["corpus"] = [text for text in items.texts or [] if text.strip()]
        sides = dict(zip(columns, sides_of_columns(self.sides, len(columns)), strict=True))
        if not encoder.tells_sides_apart:
            sides = dict.fromkeys(columns, sides["positive"])
        # One call for all columns of a side, so that one bar tells its whole time.
        for side in dict.fromkeys(sides.values()):
            texts = [text for name, column in columns.items() if sides[name] == side for text in column]
            encoder.encode(texts, side=side, progress=True, bf16=self.bf16)
        return {name: encoder.encode(column, side=sides[name], bf16=self.bf16) for name, column in columns.items()}

    def encoder(self) -> Any:
        """The base encoder. Raises `AnysizeError` if no model was named."""
        from anysize.text.encoder import Encoder

        if self.model is None:
            raise AnysizeError("texts need an encoder: name one with --model, for example all-MiniLM-L6-v2")
        return Encoder(self.model)

    def sizes(self, width: int) -> tuple[int, ...]:
        """The sizes to train for this width. Raises `SizeError` if they do not increase or one exceeds it."""
        from anysize.core.sizes import Nesting

        if self.dims is None:
            return default_dims(width)
        levels = Nesting(dims=self.dims).levels("dims")
        if levels[-1] > width:
            raise SizeError(f"dims={levels[-1]} exceeds the model, whose embeddings have {width} dimensions")
        return levels

    def head(self, columns: dict[str, np.ndarray], workdir: Path, resume: bool = False) -> Embedder:
        """Learn a head from `training_features`; the encoder is not attached."""
        import numpy as np

        from anysize.core.sizes import Nesting
        from anysize.core.training import TrainingPlan, train
        from anysize.text.embedder import Embedder
        from anysize.text.head import NeighbourHead, PairHead, Rows, as_tensor, principal_rows

        corpus = columns.get("corpus")
        columns = {name: column for name, column in columns.items() if name != "corpus"}
        rows, width = next(iter(columns.values())).shape
        if rows < 8:
            raise DataError(f"{rows} rows are too few to learn from; give at least 8")
        if not any(column.any() for column in columns.values()):
            raise DataError("every vector is zeros, from which nothing can be learnt; give other vectors")
        nesting = Nesting(dims=self.sizes(width))
        start = principal_rows(np.concatenate(list(columns.values())) if corpus is None else corpus, nesting.full.dims)
        if "vector" in columns:
            module: Any = NeighbourHead(start, nesting, self.scale)
        else:
            queries = len(np.unique(columns["anchor"], axis=0))
            known = np.zeros((0, width), np.float32) if corpus is None else corpus
            keep = min(10.0, 0.2 * len(known) / queries) if self.keep is None else float(self.keep)
            module = PairHead(start, nesting, self.scale, as_tensor(known), keep)
        batch = min(self.batch_size or 512, rows)
        plan = TrainingPlan(
            epochs=self.epochs or max(20, math.ceil(300 / (rows // batch))),
            batch_size=batch,
            learning_rate=self.learning_rate or 1e-3,
            seed=self.seed,
        )
        losses = train(module, Rows(**columns), plan, workdir, resume=resume)
        model = Embedder(nesting, width, weight=module.weight.detach().cpu().clone())
        model.about |= {"learnt_from": "vectors" if "vector" in columns else "pairs", "rows": rows, "losses": losses}
        return model.eval()

    def _fit_head(self, data: Data, workdir: Path, resume: bool) -> Embedder:
        encoder = self.encoder() if data.items().vectors is None else None
        if encoder is not None:
            self.sizes(encoder.dimension)  # refuse impossible sizes before the slow part
        model = self.head(self.training_features(data, encoder, workdir), workdir, resume)
        if encoder is not None:
            encoder.store.folder = None  # the working folder goes; what was computed stays in memory
        model.encoder = encoder
        return model

    def _fit_full(self, data: Data, workdir: Path, resume: bool) -> Embedder:
        from anysize.text.finetune import finetune

        if data.items().vectors is not None:
            raise DataError(f"{data.name} holds vectors; only texts can tune a full model (use --tune head)")
        pairs = data.training_pairs()
        if pairs is None:
            raise DataError(f"{data.name} has no pairs; tuning the full model needs them (or use --tune head)")
        return finetune(self, pairs, workdir, resume=resume)

    def single(self, dims: int) -> MRL:
        """The same training for one size alone: the fixed-size twin."""
        return replace(self, dims=(dims,))
