"""Some clips with what is said in them, and what the model wrote down at each pair of rates, its errors marked."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from anysize.core.frontier.panel import Panel
from anysize.core.frontier.records import NESTED
from anysize.core.sizes.size import Size
from anysize.core.verbs.measure import has_seen
from anysize.evaluation.transcripts import errors, normalised, transcripts_of
from anysize.tokens.speech.clips import clip_of

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.frontier.frontier import Frontier
    from anysize.tokens.speech.model import NestedSpeech

LISTENED, SHOWN = 48, 6
"""Clips that are run, spread over all, and how many of them are shown, from the best to the worst."""
_STYLE = """.heard { margin: 1rem 0 1.6rem; } .heard h3 { margin: 0 0 .4rem; font-size: 1rem; overflow-wrap: anywhere; }
.heard ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 12.5rem), 1fr)); }
.heard li { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .6rem; background: var(--card); }
.heard p { margin: 0; overflow-wrap: anywhere; }
.heard mark { background: none; color: inherit; text-decoration: underline wavy var(--accent); }
.heard ins { text-decoration: none; border: 1px dashed var(--accent); border-radius: 4px; padding: 0 .2rem; }
.heard del { color: var(--soft); }"""


def clips(model: NestedSpeech, data: Data, frontier: Frontier) -> Panel | None:
    """Of up to `LISTENED` clips that were measured on, `SHOWN` from the fewest errors over all sizes to the most."""
    given = transcripts_of(data, "held out" if has_seen(model, data) or _is_split(data) else "all")
    there = [row for row, text in enumerate(given.texts) if normalised(text, "plain")]
    there = there[:: max(1, len(there) // LISTENED)][:LISTENED]
    sizes = [one.size for one in frontier.arm(NESTED)]
    if not there or not sizes:
        return None
    views = [model.at(size) for size in sorted(sizes, key=lambda one: -sum(one.values()))]
    read = model.read([given.rows[row] for row in there])
    wrote = [[normalised(one, "plain") for one in view.answers(read)] for view in views]
    wanted = [normalised(given.texts[row], "plain") for row in there]
    wrong = [sum(errors(text, each[place])[0] for each in wrote) for place, text in enumerate(wanted)]
    ranked = sorted(range(len(there)), key=lambda place: wrong[place])
    count = min(SHOWN, len(ranked))
    chosen = [ranked[place * (len(ranked) - 1) // max(count - 1, 1)] for place in range(count)]
    parts = []
    for place in chosen:
        cells = "".join(
            f'<li><p>{marked(wanted[place], each[place])}</p><p class="soft">{said(view.size)}: '
            f"{counted(errors(wanted[place], each[place])[0])}</p></li>"
            for view, each in zip(views, wrote, strict=True)
        )
        name = escape(clip_of(given.rows[there[place]]).name.rpartition("/")[2])
        parts.append(
            f'<article class="heard"><h3>{escape(wanted[place])}</h3><p class="soft">{name}, '
            f"{read.seconds[place]:.1f} s</p><ol>{cells}</ol></article>"
        )
    how = (
        "Above each what is said, in lower case without punctuation; below what the model wrote down. "
        "<mark>Underlined</mark> words stand for others, <ins>framed</ins> ones are too many, <del>struck</del> ones "
        "are missing."
    )
    title = f"{len(parts)} clip{'' if len(parts) == 1 else 's'} at each size, from the fewest errors to the most"
    return Panel(title, f'<p class="soft heard">{how}</p>{"".join(parts)}', _STYLE)


def _is_split(data: Data) -> bool:
    return data.table is not None and "split" in data.table and "train" in map(str, data.table["split"])


def marked(wanted: str, wrote: str) -> str:
    """What was written down as HTML, where it differs from what is wanted."""
    import jiwer

    found, parts = jiwer.process_words(wanted, wrote), []
    theirs, ours = found.references[0], found.hypotheses[0]
    for chunk in found.alignments[0]:
        words = escape(" ".join(ours[chunk.hyp_start_idx : chunk.hyp_end_idx]))
        lost = escape(" ".join(theirs[chunk.ref_start_idx : chunk.ref_end_idx]))
        parts.append(
            {
                "equal": words,
                "substitute": f"<mark>{words}</mark>",
                "insert": f"<ins>{words}</ins>",
                "delete": f"<del>{lost}</del>",
            }[chunk.type]
        )
    return " ".join(parts)


def said(size: Size) -> str:
    """``audio 1/16, video 1/5``."""
    return ", ".join(f"{axis} {share}" for axis, share in size.items())


def counted(wrong: int) -> str:
    """``no error``, ``1 error``, ``2 errors``."""
    return f"{wrong or 'no'} error{'s' if wrong > 1 else ''}"
