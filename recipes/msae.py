"""
MSAE on image features (Zaigrajew et al. 2025, arXiv 2502.20578): learn, name, search, edit, and look for bias.

    python -m recipes.msae --data DATA_DIR --clip openai/clip-vit-base-patch32 --out OUT

Data      DATA_DIR/cifar10 (zip files of CLASS/NUMBER.jpg: images and the attribute that is probed) and
          DATA_DIR/word_lists/laion_400_unigram.txt, of which the commonest words are the vocabulary.
Cost      one pass of CLIP over 10,000 images and 10,000 words, then 1,000 steps over their embeddings.
Hardware  any; a CLIP that is on this machine, or a network to fetch it.
Result    OUT/sae, OUT/names.json, OUT/look.html, and what is printed. We had no network, so this was run with a small
          CLIP of random weights alone, in the tests: the figures of a real one are yours to see.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError
from anysize.core.files import write_bytes, write_json
from anysize.sparse import MSAE, SparseAutoencoder
from anysize.sparse.concepts.editing import bias, concept_search
from anysize.sparse.concepts.naming import Concept, name_concepts, read_words
from anysize.sparse.looking.gather import look
from anysize.sparse.looking.page import page
from anysize.sparse.measuring.probing import fit_probe, preserved

_BATCH = 64


class Clip:
    """Both towers of a CLIP model of transformers: unit embeddings of images and of words in one space."""

    def __init__(self, name: str) -> None:
        from transformers import CLIPModel, CLIPProcessor

        try:
            self.processor: Any = CLIPProcessor.from_pretrained(name)
            self.model: Any = CLIPModel.from_pretrained(name).eval()
        except (OSError, ValueError) as error:
            raise AnysizeError(f"cannot load {name!r} as a CLIP model ({str(error).splitlines()[0]})") from None

    def images(self, pictures: Sequence[Any]) -> np.ndarray:
        """Embeddings of pictures, (n, d)."""
        return self._embed(pictures, lambda some: self.model.get_image_features(**self._inputs(images=some)))

    def words(self, words: Sequence[str]) -> np.ndarray:
        """Embeddings of words, (n, d)."""
        return self._embed(words, lambda some: self.model.get_text_features(**self._inputs(text=some, padding=True)))

    def _inputs(self, **given: Any) -> Any:
        return self.processor(return_tensors="pt", **given)

    @torch.no_grad()
    def _embed(self, things: Sequence[Any], run: Any) -> np.ndarray:
        found = []
        for start in range(0, len(things), _BATCH):
            output = run(list(things[start : start + _BATCH]))
            rows = output if isinstance(output, torch.Tensor) else output.pooler_output
            found.append(torch.nn.functional.normalize(rows.float(), dim=1).numpy())
        return np.concatenate(found)


def pictures_of(data: Path, part: str, most: int) -> Iterator[tuple[str, str, Any]]:
    """Name, class and picture of each image of a zip, the classes in turn."""
    from PIL import Image

    file = data / "cifar10" / f"{part}.zip"
    if not file.exists():
        raise DataError(f"{file} does not exist; expected a zip of CLASS/NUMBER.jpg")
    with zipfile.ZipFile(file) as held:
        names = sorted(name for name in held.namelist() if name.lower().endswith((".jpg", ".png")))
        for name in sorted(names, key=lambda name: name.rpartition("/")[2])[:most]:
            yield name, name.split("/")[-2], Image.open(io.BytesIO(held.read(name))).convert("RGB")


def embedded(clip: Clip, data: Path, part: str, most: int) -> tuple[list[str], list[str], np.ndarray]:
    """Names, classes and embeddings of the images."""
    names, classes, pictures = zip(*pictures_of(data, part, most), strict=True)
    return list(names), list(classes), clip.images(pictures)


def report(
    sae: SparseAutoencoder, names: list[Concept], x: np.ndarray, held: np.ndarray, labels: tuple[list[str], list[str]]
) -> list[str]:
    """What the concepts do: names, a search, preservation of a probe, and the concepts that move one class."""
    called = {one.latent: one.name for one in names}
    kept = sorted((one for one in names if one.accepted), key=lambda one: -one.similarity)
    lines = [f"{len(kept)} of {len(names)} latents have a name: " + ", ".join(one.name for one in kept[:10])]
    for hit in concept_search(sae, held[0], x, k=3):
        lines.append(
            f"like the first held-out image: row {hit.row}, by " + ", ".join(called[s.latent] for s in hit.shared)
        )
    probe = fit_probe(x, labels[0])
    for size in sae.nesting:
        found = preserved(probe, held, sae.at(size)(held).numpy(), labels[1])
        lines.append(
            f"{size}: agreement {found.agreement:.3f}, KL {found.kl:.3f}, accuracy {found.accuracy_rebuilt:.3f}"
        )
    target = probe.classes[0]
    frequent = np.argsort(-np.diff(sae.encode(x).to_scipy().tocsc().indptr))[:50]
    for effect in bias(sae, held, probe, target, [int(latent) for latent in frequent])[:5]:
        moves = ", ".join(f"x{size:g}: {change:+.3f}" for size, change in effect.curve.items())
        lines.append(f"{target} and {called[effect.latent]}: correlation {effect.correlation:+.2f}; set to {moves}")
    return lines


def main(words: Sequence[str] | None = None) -> None:
    """From images to named concepts and a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clip", required=True, help="a CLIP model of transformers, by name or by folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--latents", type=int, default=2048)
    parser.add_argument("--active", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512, 2048])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--words", type=int, default=10_000)
    options = parser.parse_args(words)
    clip = Clip(options.clip)
    names, classes, x = embedded(clip, options.data, "train", options.images)
    _, held_classes, held = embedded(clip, options.data, "test", max(1, options.images // 4))
    vocabulary = read_words(options.data / "word_lists" / "laion_400_unigram.txt")[-options.words :]
    data = Data("images", "images", corpus=Items(names, x, "vector"))
    method = MSAE(latents=(options.latents,), active=tuple(options.active), steps=options.steps, learning_rate=5e-4)
    sae = method.fit(data)
    sae.save(options.out / "sae")
    concepts = name_concepts(sae, vocabulary, clip.words(vocabulary))
    write_json(options.out / "names.json", {"concepts": [one.to_json() for one in concepts]})
    looked = look(sae, x, names, title="MSAE of images", names={one.latent: one.to_json() for one in concepts})
    write_bytes(options.out / "look.html", page(looked).encode())
    print("\n".join(report(sae, concepts, x, held, (classes, held_classes))))


if __name__ == "__main__":
    main()
