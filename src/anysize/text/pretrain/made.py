"""What pre-training gives: an encoder in the ecosystem's own format, with a note of how it was made."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from anysize.backbones.huggingface import pretrained
from anysize.core.errors import CheckpointError, refused_as_damaged
from anysize.core.files import new_directory, read_object, write_json
from anysize.core.sizes.nesting import Nesting


@dataclass
class Pretrained:
    """
    A transformers encoder, its tokenizer, and `about`, how it was made.

    Neither the decoder nor the masked-language head is kept: `transformers.AutoModel` finds its weights and no others.
    """

    MARKER: ClassVar[str] = "pretraining.json"
    """The file beside the weights that holds `about`; a folder without it is not ours to replace."""

    encoder: Any
    tokenizer: Any
    max_length: int
    """Tokens, special ones included, of the longest window that it was trained on."""
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def nesting(self) -> Nesting:
        """The sizes that it was trained for."""
        return Nesting.from_json(self.about["sizes"])

    def sentence_transformer(self) -> Any:
        """An ordinary sentence-transformers model that takes the first token's state (CLS), as SMAE trains it."""
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling

        from anysize.core.quiet import quiet
        from anysize.core.scratch import temporary_folder

        with temporary_folder() as scratch, quiet():
            self.encoder.save_pretrained(scratch)
            self.tokenizer.save_pretrained(scratch)
            first = Transformer(scratch, max_seq_length=self.max_length)
            pooling = Pooling(self.encoder.config.hidden_size, pooling_mode="cls")
            return SentenceTransformer(modules=[first, pooling], device="cpu")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a folder, in one step, for `transformers`, sentence-transformers and ``anysize fit --model``."""
        from anysize.core.quiet import quiet

        with new_directory(path, marker=self.MARKER) as directory:
            with quiet():
                self.sentence_transformer().save(str(directory), create_model_card=False)
            write_json(directory / self.MARKER, self.about)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Pretrained:
        """Read what `save` wrote. Raises `CheckpointError` for anything else."""
        from transformers import AutoModel, AutoTokenizer

        about = read_object(Path(path) / cls.MARKER, "a pre-trained encoder")
        if not isinstance(about.get("max_length"), int):
            raise CheckpointError(f"{Path(path) / cls.MARKER} does not say how long a text may be; it may be damaged")
        with refused_as_damaged(f"the pre-trained encoder in {os.fspath(path)} cannot be read"):
            encoder = pretrained(AutoModel, path, local_files_only=True)
            tokenizer = pretrained(AutoTokenizer, path, local_files_only=True)
        return cls(encoder, tokenizer, about["max_length"], about)
