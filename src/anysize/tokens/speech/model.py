"""Speech recognition by a language model, at every rate of sound and of lips (Llama-MTSK, arXiv 2503.06362)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch

from anysize.core.model.cost import Cost
from anysize.core.model.manifest import needed
from anysize.core.model.reported import Reported
from anysize.core.quiet import quiet
from anysize.core.sides import Side
from anysize.core.sizes.size import Size
from anysize.tokens.costs import kept_bytes, reading
from anysize.tokens.speech.clips import FPS, Clip, clip_of, opened
from anysize.tokens.speech.holding import HoldsSpeech
from anysize.tokens.speech.scaled.scales import Scale, rate_of
from anysize.tokens.speech.scaled.sequences import Batch, Row

SECONDS = 10.0
"""Of speech, for which costs are told (as in the paper's table)."""
TEXT = 7
"""Tokens beside it: the begin, the marks and a short prompt."""


class Heard(NamedTuple):
    """Clips, once the encoders have run: what all sizes are made of."""

    tasks: list[str]
    frames: dict[str, list[torch.Tensor | None]]
    """Axis -> (frames, width) of each clip, or None where its task is not given that."""
    seconds: list[float]

    def take(self, rows: Sequence[int]) -> Heard:
        """Some of the clips."""
        return Heard(
            [self.tasks[row] for row in rows],
            {axis: [found[row] for row in rows] for axis, found in self.frames.items()},
            [self.seconds[row] for row in rows],
        )


class NestedSpeech(HoldsSpeech):
    """Writes down what is said in sounds, on lips, or in both, at every size of `nesting`."""

    kind = "speech"
    reads = ("audio", "video", "parts")
    gives = "text"
    evaluators = ("word-errors",)
    panels = ("anysize.tokens.speech.clips_panel:clips",)
    exports: ClassVar[Mapping[str, str]] = {
        "anysize": "anysize.core.model.exporting:whole",
        "adapters": "anysize.tokens.speech.adapters:write",
    }
    rivals: ClassVar[Mapping[str, str]] = {
        "single": "anysize.core.verbs.rivals:single",
        "free": "anysize.tokens.speech.rivals:free",
    }

    # Running

    @property
    def origin(self) -> int:
        """Models of one origin write down the same `read`."""
        return id(self.encoders)

    @property
    def sound_rate(self) -> int:
        """Samples a second that it takes."""
        return int(self.encoders["audio"].rate) if "audio" in self.encoders else 16000

    def hear(self, clips: Sequence[Clip]) -> Heard:
        """One pass of the encoders over clips. Raises `DataError` for one that cannot be read, or lacks something."""
        found = [opened(clip, self.tasks_, self.sound_rate, self.spec["missing"]) for clip in clips]
        frames: dict[str, list[torch.Tensor | None]] = {}
        for axis, encoder in self.encoders.items():
            given = [getattr(one, axis) for one in found]
            made = iter(
                encoder([one for one in given if one is not None]) if any(one is not None for one in given) else ()
            )
            frames[axis] = [None if one is None else next(made).to(self.device) for one in given]
        return Heard([one.task for one in found], frames, [one.seconds for one in found])

    @torch.no_grad()
    def read(self, rows: Sequence[Any], *, batch_size: int = 16, folder: Path | None = None) -> Heard:
        """What all sizes are made of: one pass of the encoders over clips, in parts or as files."""
        clips = [clip_of(row) for row in rows]
        heard = [self.hear(clips[start : start + batch_size]) for start in range(0, len(clips), batch_size)]
        return Heard(
            [task for one in heard for task in one.tasks],
            {axis: [row for one in heard for row in one.frames[axis]] for axis in self.encoders},
            [second for one in heard for second in one.seconds],
        )

    def rows(self, heard: Heard, scale: Scale, texts: Sequence[str] | None = None) -> list[Row]:
        """Clips of one task at one scale, with what is said in them."""
        made: dict[str, list[torch.Tensor]] = {}
        for axis, rate in scale.rates.items():
            frames = [one for one in heard.frames[axis] if one is not None]
            made[axis] = self.projectors[axis](frames, rate)
        return [
            Row(
                scale.task,
                made["audio"][place] if "audio" in made else None,
                made["video"][place] if "video" in made else None,
                () if texts is None else self.writer.ids(texts[place]),
            )
            for place in range(len(heard.tasks))
        ]

    def at_scale(self, scale: Scale, batch: Batch | None = None) -> contextlib.AbstractContextManager[None]:
        """Within, the language model runs with what adapts it to this scale."""
        if self.adapters is None:
            return contextlib.nullcontext()
        return self.adapters.at(scale, None if batch is None else batch.kinds)

    def logits(self, batch: Batch, scale: Scale, last: int) -> torch.Tensor:
        """(n, last, vocabulary) of the last places of a batch."""
        with self.at_scale(scale, batch):
            found: torch.Tensor = self.lm(
                inputs_embeds=batch.embeds, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False,
                logits_to_keep=last,
            ).logits  # fmt: skip
        return found

    def groups(self, heard: Heard, size: Size) -> Iterable[tuple[list[int], Scale]]:
        """The rows of each task, with its scale at a size."""
        for task in dict.fromkeys(heard.tasks):
            yield [row for row, one in enumerate(heard.tasks) if one == task], Scale.of(size, task)

    def _outputs(self, example: Any, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Logits of the transcript's first token, (n, vocabulary), of clips."""
        heard = example if isinstance(example, Heard) else self.read(example)
        return {size: self._first(heard, size) for size in asked}

    def _first(self, heard: Heard, size: Size) -> torch.Tensor:
        found: dict[int, torch.Tensor] = {}
        for rows, scale in self.groups(heard, size):
            batch = self.writer.batch(self.rows(heard.take(rows), scale), self.marks)
            found |= dict(zip(rows, self.logits(batch, scale, 1)[:, -1].float(), strict=True))
        return torch.stack([found[row] for row in range(len(heard.tasks))])

    @torch.no_grad()
    def answers(self, read: Heard, *, max_new_tokens: int = 64, batch_size: int = 16) -> list[str]:
        """What is said in each clip, the likeliest token first at every step, at this view's size."""
        said = [""] * len(read.tasks)
        for rows, scale in self.groups(read, self.size):
            for start in range(0, len(rows), batch_size):
                part = rows[start : start + batch_size]
                for row, text in zip(part, self._written(read.take(part), scale, max_new_tokens), strict=True):
                    said[row] = text
        return said

    def _written(self, heard: Heard, scale: Scale, most: int) -> list[str]:
        writer = self.writer
        batch = writer.batch(self.rows(heard, scale), self.marks, room=most)
        with self.at_scale(scale), quiet():
            ids = self.lm.generate(
                inputs_embeds=batch.embeds, attention_mask=batch.mask, max_new_tokens=most, do_sample=False,
                num_beams=1, pad_token_id=writer.filler(), eos_token_id=self.tokenizer.eos_token_id,
            )  # fmt: skip
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def first_token(self, rows: Sequence[Any]) -> torch.Tensor:
        """Logits of the first token: the encoders, and the language model's reading."""
        with torch.no_grad():
            return self(rows)

    def text_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of transcripts, with their ends."""
        return [len(self.writer.ids(text)) for text in texts]

    def run(
        self, items: Sequence[Any], *, side: Side | None = None, max_new_tokens: int = 64, batch_size: int = 16
    ) -> Reported:
        """What is said in each clip, with its seconds, tokens, and the time that all took over that of their speech."""
        begin = time.perf_counter()
        heard = self.read(items)
        said = self.answers(heard, max_new_tokens=max_new_tokens, batch_size=batch_size)
        factor = (time.perf_counter() - begin) / max(sum(heard.seconds), 1e-9)
        strange = self.untrained_rates()
        marked = {"untrained_rates": strange} if strange else {}
        took = []
        for row, (task, seconds) in enumerate(zip(heard.tasks, heard.seconds, strict=True)):
            frames = {axis: heard.frames[axis][row] for axis in Scale.of(self.size, task).given}
            counts = {}
            for axis, one in frames.items():
                if one is not None:
                    rate = rate_of(axis, self.size[axis])
                    counts[f"frames_{'an' if axis == 'audio' else 'a'}_{axis}_token"] = rate
                    counts[f"{axis}_tokens"] = self.projectors[axis].reduce.count(len(one), rate)
            took.append({"seconds_of_speech": seconds, **counts, "real_time_factor": factor, **marked})
        return Reported(said, took)

    def untrained_rates(self) -> int:
        """How many of this view's rates nothing trained, which a projector for all rates runs at all the same."""
        trained = self.nesting.trained
        return sum(all(size[axis] != self.size[axis] for size in trained) for axis in self.size)

    # The contract

    def tokens(self, seconds: float = SECONDS) -> dict[str, int]:
        """Axis -> the tokens of so many seconds at this view's size."""
        rates = {"video": FPS}
        if "audio" in self.encoders:
            rates["audio"] = self.encoders["audio"].frame_rate
        return {
            axis: self.projectors[axis].reduce.count(
                max(1, round(seconds * rates[axis])), rate_of(axis, self.size[axis])
            )
            for axis in self.nesting.axes
        }

    def paid(self) -> str:
        """Tokens of ten seconds of speech."""
        counts = " and ".join(f"{count} of {axis}" for axis, count in self.tokens().items())
        return f"{counts} tokens for {SECONDS:.0f} s of speech"

    def cost(self) -> Cost:
        """
        Bytes of keys and values, and operations until the first token, of ten seconds of speech; the weights of this
        size and those within it.
        """
        counts = self.tokens()
        embedding = self.lm.get_input_embeddings().weight.numel()
        weights = sum(weight.numel() for weight in self.lm.parameters()) - embedding
        flops = reading(weights, self.lm.config, sum(counts.values()) + TEXT) + 2 * embedding
        for axis, encoder in self.encoders.items():
            each = FPS if axis == "video" else encoder.frame_rate
            flops += 2 * int(sum(weight.numel() for weight in encoder.parameters()) * SECONDS * each)
        owned = self.owned_tensors()
        held = sum(value.numel() for name, value in self.saved_state().items() if needed(owned.get(name), self.size))
        return Cost(
            bytes=kept_bytes(self.lm.config, sum(counts.values()), self.marks.element_size()),
            parameters=held,
            flops=flops,
        )
