"""A tiny model of every registered kind, for tests of what all of them promise on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipes.coding_sample import CODES, documents

from anysize.backbones.vision.llava import VisionLanguage
from anysize.beams.channels.channels import Channels
from anysize.beams.channels.panel import Panel
from anysize.core.model.contract import NestedModel
from anysize.core.sizes.nesting import Nesting
from anysize.tokens.retrieval.model import Interleaved
from anysize.tokens.speech.clips import Clip
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.model import NestedVLM
from anysize.vision.encoder.model import ImageEncoder
from tests.conftest import WIDTH, WORDS, sentences
from tests.tiny_speech import film, noise, tiny_speech
from tests.tiny_vision import shapes, tiny_tower
from tests.tiny_vlm import drawn, tiny_llava

TEXTS = sentences(4)
LINKS = Channels.checked(
    np.random.default_rng(0).standard_normal((8, 1, 1, 12)).view(complex), Panel(2, 3), np.repeat([0, 1], 4)
)
ROWS = np.random.default_rng(0).standard_normal((4, 12)).astype(np.float32)


def models(encoder: Path, lm: Path) -> dict[str, tuple[Callable[[], NestedModel], Any]]:
    """Kind -> how to make one, and what its `outputs` reads; `encoder` and `lm` are folders of tiny bases."""
    from anysize.backbones.sentence import Encoder
    from anysize.beams import Beams
    from anysize.classify import Classifier
    from anysize.quantize import CausalLM
    from anysize.quantize.model.making import finished, prepared
    from anysize.text import Embedder, NestedEncoder, TaskLoRA
    from tests.sparse.making import random_sae

    def layered(**sizes: Any) -> NestedModel:
        return NestedEncoder.from_pretrained(encoder, **(sizes or {"layers": (1, 2), "dims": (8, WIDTH)}))

    def vlm() -> NestedModel:
        return NestedVLM(Nesting(tokens=(1, 4, 16)), VisionLanguage(*tiny_llava()), {"kind": "pool", "mode": "avg"})

    def interleaved() -> NestedModel:
        return Interleaved(Nesting(tokens=(1, 4)), VisionLanguage(*tiny_llava()), {"kind": "pool", "mode": "avg"})

    def embedder() -> NestedModel:
        weight = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(0))
        return Embedder(Nesting(dims=(4, 16)), WIDTH, encoder=Encoder(str(encoder)), weight=weight)

    def tasks() -> NestedModel:
        made = TaskLoRA(str(encoder), ("retrieval.query", "text-matching"), dims=(8, WIDTH))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in made.adapters.weights().values():
                weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
        return made.for_task("text-matching")

    def beams(kind: str) -> NestedModel:
        method = Beams(beams=(2, 4), steps=3, sweep=2, rounds=1, batch_links=16, pool=1, from_=kind)  # type: ignore[arg-type]
        return method.fit(LINKS.data())

    def coder() -> NestedModel:
        from anysize.coding import ICD, Document, Span
        from anysize.coding.reading.data import data_of
        from anysize.coding.records.dictionary import CodeDictionary

        found = [
            Document(str(place), text, tuple(Span(a, b, text[a:b], code) for a, b, code in spans))
            for place, (text, spans) in enumerate(documents(12, 0))
        ]
        method = ICD(dims=(4, 8), candidates=(5, 10), folds=0, epochs=1, iterations=5)
        return method.fit(data_of("clinic", found, CodeDictionary.of(CODES)))

    def pictures() -> NestedModel:
        draw = torch.Generator().manual_seed(0)
        head, flat = torch.randn(24, 24, generator=draw), torch.randn(24, 24, generator=draw)
        return ImageEncoder(Nesting(dims=(4, 8, 24)), tiny_tower(), weight=head, flat=flat)

    def edited() -> NestedModel:
        from anysize.editing.deltas.changes import LowRank
        from anysize.editing.deltas.delta import Delta, fingerprint_of
        from anysize.editing.model.model import EditedLM
        from anysize.editing.requests.request import EditRequest

        base, weight = CausalLM.from_pretrained(lm), "model.layers.1.mlp.down_proj.weight"
        rows, columns = base.lm.get_parameter(weight).shape
        generator = torch.Generator().manual_seed(0)
        change = LowRank(*(torch.randn(2, 1, count, generator=generator) for count in (rows, columns)))
        asked = (EditRequest(WORDS[0], " ".join(WORDS[1:5]), id="1"),)
        told = {"chat": False, "records": [{"id": "1", "bounds": [0, 3, 5]}]}
        return EditedLM.of(base, Delta({weight: change}, asked, fingerprint_of(base.lm)), told)

    bits = Nesting(bits=(2, 8))
    ids = torch.arange(3, 12).reshape(1, 9) % len(WORDS)
    return {
        "embedder": (embedder, TEXTS),
        "encoder": (layered, TEXTS),
        "task-encoder": (tasks, TEXTS),
        "classifier": (lambda: Classifier(Nesting(dims=(3, 12)), 12, ["cat", "dog"]), ROWS),
        "sae": (random_sae, torch.from_numpy(ROWS)),
        "quantized-encoder": (lambda: finished(prepared(layered(dims=(WIDTH,)), bits)), TEXTS),
        "coder": (coder, TEXTS),
        "codebook": (lambda: beams("channels"), LINKS),
        "ssb-encoder": (lambda: beams("reports"), LINKS),
        "image-encoder": (pictures, shapes(4)),
        "interleaved": (interleaved, [[{"text": "how many"}, {"image": drawn(1)[0]}]]),
        "speech": (tiny_speech, [Clip(noise(0.4), film(0.4))]),
        "vlm": (vlm, [Asked(drawn(1)[0], "how many red")]),
        "edited-lm": (edited, ids),
        "causal-lm": (lambda: CausalLM.from_pretrained(lm), ids),
        "quantized-lm": (lambda: finished(prepared(CausalLM.from_pretrained(lm), bits)), ids),
    }
