"""Which prompt goes before a text: that of its side of a search, or the model's default one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from anysize.core.sides import Side

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DOCUMENTS = ("document", "passage", "corpus")
"""What models call the prompt of documents, in the order in which sentence-transformers says that it looks."""


def prompt_of(prompts: Mapping[str, str | None], default: str | None, side: Side | None) -> str:
    """
    What goes before a text of this side; of no side, the prompt called `default`.

    As sentence-transformers 6 chooses: a side without a prompt has none, whatever the default is. One thing is as it
    says, not as it does: it fills a missing ``document`` with an empty prompt and so never reaches ``passage``.
    """
    if side is None:
        return prompts.get(default or "") or ""
    names = ("query",) if side == "query" else DOCUMENTS
    return next((prompt for name in names if (prompt := prompts.get(name))), "")


def prompt_in(model: SentenceTransformer, side: Side | None) -> str:
    """What goes before a text of this side in a sentence-transformers model."""
    return prompt_of(model.prompts, model.default_prompt_name, side)


def kept_prompts(prompts: Mapping[str, str | None]) -> dict[str, str]:
    """Prompts as a model of ours writes them: that of documents also under the name by which it is looked up."""
    found = {name: prompt or "" for name, prompt in prompts.items()}
    documents = prompt_of(prompts, None, "document")
    return {**found, "document": documents} if documents else found
