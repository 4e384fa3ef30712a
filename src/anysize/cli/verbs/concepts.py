"""``anysize concepts``: names for the latents of a sparse autoencoder, out of a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from anysize.cli.options import Positional
from anysize.core.printable import printable

if TYPE_CHECKING:
    from anysize.sparse.concepts.naming import Concept


@dataclass
class Concepts:
    """
    Name each latent after the word whose embedding its direction is nearest to, and say which names hold.

    A name is accepted if the cosine is at least --min-similarity and at least --min-ratio times that of the next word.
    Few are: a vocabulary with two words for one thing has two that are near.
    """

    sae: Annotated[str, Positional("SAE")]
    """A sparse autoencoder of embeddings."""
    vocabulary: Path
    """A file of words or phrases, one a line."""
    model: str | None = None
    """The model that made the embeddings, if the autoencoder does not know it."""
    min_similarity: float = 0.42
    """Least cosine of a name."""
    min_ratio: float = 2.0
    """Least ratio of the best cosine to the next."""
    show: int = 20
    """How many accepted names to print, the surest first."""
    out: Path | None = None
    """Write all names here as JSON, for `anysize look --concepts`."""

    def run(self) -> Named:
        """Embed the words, compare, choose."""
        from anysize.cli.verbs.prune import autoencoder
        from anysize.core.files import check_file, write_json
        from anysize.sparse.concepts.naming import embed_words, name_concepts, read_words

        if self.out is not None:
            check_file(self.out)
        words, sae = read_words(self.vocabulary), autoencoder(self.sae)
        vectors = embed_words(sae, words, self.model)
        found = name_concepts(sae, words, vectors, min_similarity=self.min_similarity, min_ratio=self.min_ratio)
        named = Named(self.sae, len(words), self.show, found, self.out)
        if self.out is not None:
            write_json(self.out, named.to_json())
        return named


@dataclass(frozen=True)
class Named:
    """A name for every latent."""

    sae: str
    words: int
    show: int
    concepts: list[Concept]
    out: Path | None

    @property
    def accepted(self) -> list[Concept]:
        """Those that hold, the surest first."""
        return sorted((one for one in self.concepts if one.accepted), key=lambda one: -one.similarity)

    def text(self) -> str:
        """A line for each accepted name."""
        kept = self.accepted
        lines = [
            f"{printable(self.sae)}: {len(kept)} of {len(self.concepts)} latents have a name among {self.words} words"
        ]
        for one in kept[: self.show]:
            lines.append(
                f"  {one.latent:>6}  {one.similarity:.3f}  {one.ratio:5.2f}x  "
                f"{printable(one.name)}  (next: {printable(one.runner_up)})"
            )
        if len(kept) > self.show:
            lines.append(f"  and {len(kept) - self.show} more")
        return "\n".join([*lines, *([f"wrote {self.out}"] if self.out else [])])

    def to_json(self) -> dict[str, Any]:
        """Counts, and every latent's name."""
        return {
            "sae": self.sae,
            "words": self.words,
            "accepted": len(self.accepted),
            "concepts": [one.to_json() for one in self.concepts],
        }
