"""The method ``icd``: a coder of diagnoses out of annotated documents and a dictionary of codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.verbs.method import Method

if TYPE_CHECKING:
    from anysize.core.sizes.size import Size


@dataclass(frozen=True)
class ICD(Method):
    """
    Codes diagnoses in free text (ICD-10 and lists like it): finds mentions, links each to a code, judges the document.

    DATA is a folder of brat files (or its zip archive) with a dictionary beside them, or a table with the columns text
    and code. Vectors are nested in dims, and candidates says how many names are compared with a mention and vote.
    """

    name: ClassVar[str] = "icd"
    runs: ClassVar[str] = "anysize.coding.fit:fit"
    axes: ClassVar[tuple[str, ...]] = ("dims", "candidates")
    paper: ClassVar[str] = "Nesterov et al. 2025, arXiv 2502.21263 (RuCCoD)"
    learns_from: ClassVar[str] = "documents with coded spans, and a dictionary of codes"
    extra: ClassVar[str | None] = "coding"

    dims: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Sizes of the vectors, increasing."""
    candidates: tuple[int, ...] = (15, 60, 200)
    """How many names are compared with a mention, increasing."""
    encoder: str = "char-ngram"
    """What reads mentions: char-ngram, or a sentence encoder, a folder or a hub name, which stays as it is."""
    ngrams: bool = True
    """With a sentence encoder: add the bag of n-grams to its vectors."""
    detector: str = "ngram"
    """What finds mentions: ngram, a conditional random field; or an encoder of Hugging Face to fine-tune."""
    detector_epochs: int = 3
    """Of a detector that is fine-tuned."""
    frozen: int = 0
    """Layers of a detector that stay as they are."""
    dictionary: str | None = None
    """A list of codes with their names, in YAML, csv, tsv or jsonl, in place of the one beside the data."""
    mentions: bool = True
    """Also compare with the training mentions, not with the dictionary alone."""
    loss: Literal["marginal", "multi-similarity"] = "marginal"
    """BioSyn's marginal likelihood, or SapBERT's multi-similarity."""
    coarse: bool = False
    """Tie short prefixes to coarse codes: up to 16 dims to chapters, up to 64 to categories."""
    back_off: float | None = None
    """Give the parent where the best two codes are siblings whose scores differ by less than this."""
    folds: int = 3
    """Parts of the documents for judging what was found without having seen them; 0: shares of the votes are scores."""
    lexical: float = 1.0
    """Weight of the tf-idf cosine beside that of the vectors; 0 for none."""
    epochs: int = 4
    """Passes over the mentions."""
    learning_rate: float = 1e-2
    """Of the table of n-grams; a tenth of it for the head."""
    temperature: float = 0.05
    """What cosines are divided by in the marginal likelihood."""
    iterations: int = 100
    """Of fitting the detector ngram."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for axis in ("dims", "candidates"):
            values = getattr(self, axis)
            if not values or any(value < 1 for value in values) or list(values) != sorted(set(values)):
                raise SizeError(
                    f"{axis} are whole numbers of at least 1, increasing; got {', '.join(map(str, values))}"
                )
        if self.folds == 1 or self.folds < 0:
            raise AnysizeError(f"folds is 0, or a number of parts of at least 2; got {self.folds}")
        if self.lexical < 0:
            raise AnysizeError(f"lexical is a weight of at least 0; got {self.lexical}")
        if self.temperature <= 0 or self.iterations < 1:
            raise AnysizeError("temperature and iterations must be above zero")

    def single(self, size: Size) -> ICD:
        """The fixed-size twin: trained for one size alone."""
        return replace(self, dims=(size.dims,), candidates=(size["candidates"],))

    def told(self, made: Any, out: str) -> str:
        """What a reader is told of it."""
        said = super().told(made, out)
        folds = made.about.get("folds")
        if not folds:
            return said
        judged = f"on folds of the training documents: code F1 {folds['code F1']:.3f}, NER F1 {folds['NER F1']:.3f}"
        first, _, last = said.partition("\n")
        return f"{first}\n{judged}\n{last}"
