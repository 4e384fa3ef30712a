"""Where diagnoses stand, by a token classifier on any encoder of Hugging Face: beginning, inside or outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from anysize.backbones.huggingface import check_tokenizers, opening, pretrained
from anysize.coding.detecting.crf import Place
from anysize.coding.records.documents import Document, trimmed, without_overlaps
from anysize.core.errors import AnysizeError
from anysize.core.progress import bar
from anysize.core.quiet import quiet

TAGS = ("O", "B", "I")
_IGNORED = -100


class TokenDetector:
    """
    Tags sub-words; spans are contiguous, and given back in characters.

    A text longer than the model reads is read in windows that overlap by a quarter; each token is tagged in the window
    in which it stands farthest from an edge.
    """

    kind = "tokens"

    def __init__(self, model: Any, tokenizer: Any, length: int) -> None:
        self.model, self.tokenizer, self.length = model, tokenizer, length

    @classmethod
    def fit(
        cls,
        documents: Sequence[Document],
        name: str,
        *,
        epochs: int = 3,
        learning_rate: float = 5e-5,
        batch: int = 16,
        length: int = 256,
        frozen: int = 0,
        seed: int = 0,
    ) -> TokenDetector:
        """
        Fine-tune the encoder `name`, whose first `frozen` layers stay as they are.

        Raises `AnysizeError` for a model without a fast tokenizer, which alone knows characters of tokens, and where no
        document has a span.
        """
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        torch.manual_seed(seed)
        with opening("encoder", name):
            tokenizer = pretrained(AutoTokenizer, name)
            options = {"num_labels": len(TAGS), "dtype": torch.float32}
            model = pretrained(AutoModelForTokenClassification, name, **options)
        if not tokenizer.is_fast:
            raise AnysizeError(f"{name} has no fast tokenizer, so its tokens cannot be found in the text; take another")
        longest = getattr(model.config, "max_position_embeddings", length)
        made = cls(model, tokenizer, min(length, longest))
        rows = [row for document in documents for row in made._rows(document)]
        if not any(1 in tags for _, tags in rows):
            raise AnysizeError("no document has a span, so there is nothing to detect; give annotated documents")
        made._train(rows, epochs, learning_rate, batch, frozen, seed)
        return made

    def _train(self, rows: list[Any], epochs: int, rate: float, batch: int, frozen: int, seed: int) -> None:
        if frozen:
            for name, weight in self.model.named_parameters():
                layer = next((int(part) for part in name.split(".") if part.isdecimal()), None)
                weight.requires_grad_(layer >= frozen if layer is not None else "classifier" in name)
        optimizer = torch.optim.AdamW([one for one in self.model.parameters() if one.requires_grad], lr=rate)
        generator = torch.Generator().manual_seed(seed)
        total = epochs * -(-len(rows) // batch)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total)
        self.model.train()
        with bar(total, "learning to find mentions", " steps", leave=False) as shown:
            for _ in range(epochs):
                for part in torch.randperm(len(rows), generator=generator).split(batch):
                    some = [rows[row] for row in part.tolist()]
                    ids, mask = self._padded([ids for ids, _ in some])
                    tags = torch.full(ids.shape, _IGNORED)
                    for row, (_, known) in enumerate(some):
                        tags[row, : len(known)] = torch.tensor(known)
                    loss = self.model(input_ids=ids, attention_mask=mask, labels=tags).loss
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    shown.update(1)
        self.model.eval()

    def _rows(self, document: Document) -> Iterator[tuple[list[int], list[int]]]:
        places = [trimmed(document.text, span.start, span.end) for span in without_overlaps(document.spans)]
        for ids, offsets in self._windows(document.text):
            tags = []
            for start, end in offsets:
                inside = next((place for place in places if start < place[1] and place[0] < end), None)
                tags.append(_IGNORED if start == end else 0 if inside is None else 1 if start <= inside[0] else 2)
            yield ids, tags

    def _windows(self, text: str) -> list[tuple[list[int], list[tuple[int, int]]]]:
        read = self.tokenizer(
            text, truncation=True, max_length=self.length, stride=self.length // 4, return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )  # fmt: skip
        return [
            (ids, [_tight(text, *place) for place in offsets])
            for ids, offsets in zip(read["input_ids"], read["offset_mapping"], strict=True)
        ]

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        wide = max(map(len, rows))
        ids = torch.full((len(rows), wide), int(self.tokenizer.pad_token_id or 0))
        mask = torch.zeros((len(rows), wide), dtype=torch.long)
        for row, one in enumerate(rows):
            ids[row, : len(one)], mask[row, : len(one)] = torch.tensor(one), 1
        return ids, mask

    @torch.no_grad()
    def detect(self, texts: Sequence[str], *, progress: bool = False) -> list[list[Place]]:
        """The places of each text, trimmed, in their order."""
        found = []
        with bar(len(texts), "finding mentions", " documents", show=progress, leave=False) as done:
            for text in texts:
                found.append(list(self._places(text)))
                done.update(1)
        return found

    def _places(self, text: str) -> Iterator[Place]:
        best: dict[tuple[int, int], tuple[int, torch.Tensor]] = {}
        for ids, offsets in self._windows(text) if text.strip() else ():
            rows, mask = self._padded([ids])
            shares = self.model(input_ids=rows, attention_mask=mask).logits[0].softmax(1)
            for place, (start, end) in enumerate(offsets):
                edge = min(place, len(offsets) - 1 - place)
                if start < end and edge > best.get((start, end), (-1, None))[0]:
                    best[start, end] = edge, shares[place]
        open_: list[Any] | None = None
        for (start, end), (_, shares_) in sorted(best.items(), key=lambda one: one[0]):
            tag, sure = int(shares_.argmax()), float(shares_.max())
            if open_ is not None and tag != 2:
                yield (*trimmed(text, open_[0], open_[1]), open_[2])
                open_ = None
            if tag and open_ is None:
                open_ = [start, end, sure]
            elif tag and open_ is not None:
                open_[1], open_[2] = end, min(open_[2], sure)
        if open_ is not None:
            yield (*trimmed(text, open_[0], open_[1]), open_[2])

    def save(self, folder: Path) -> None:
        """Write an ordinary model of transformers."""
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        (folder / "length.txt").write_text(str(self.length))

    @classmethod
    def load(cls, folder: Path) -> TokenDetector:
        """What `save` wrote."""
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        with opening("detector", folder):
            check_tokenizers(folder)
            tokenizer = pretrained(AutoTokenizer, folder)
            model = pretrained(AutoModelForTokenClassification, folder, dtype=torch.float32).eval()
        return cls(model, tokenizer, int((folder / "length.txt").read_text()))


def _tight(text: str, start: int, end: int) -> tuple[int, int]:
    """A token's characters without blanks around them, which some tokenizers count in."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
