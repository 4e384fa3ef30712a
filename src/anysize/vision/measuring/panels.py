"""What the page of an image encoder shows besides: neighbours at each size, clusters of patches before and after."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anysize.backbones.vision.pictures import picture
from anysize.core.frontier.panel import Panel
from anysize.core.frontier.records import NESTED
from anysize.vision.measuring.clustering import k_means

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.frontier.frontier import Frontier
    from anysize.vision.encoder.model import ImageEncoder

ASKED, NEAREST, LOOKED_AT = 4, 5, 500
"""Pictures that ask, neighbours of each that are shown, and pictures among which they are sought."""
MAPS, CLUSTERS = 6, 8
_STYLE = """.seens { display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 410px), 1fr)); }
.seen { overflow-x: auto; }
.seen table { border-collapse: separate; border-spacing: 6px; width: auto; }
.seen th { font-weight: 400; color: var(--soft); text-align: right; white-space: nowrap; border: 0;
  padding: 0 .4rem 0 0; }
.seen td { padding: 0; border: 0; }
.seen img { display: block; width: min(56px, 12vw); height: min(56px, 12vw); object-fit: cover;
  border-radius: 4px; }
.seen .other { outline: 2px solid var(--accent); outline-offset: 1px; border-radius: 3px; }
.maps { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); }
.maps figure { margin: 0; overflow: visible; } .maps div { display: flex; gap: 6px; }
.maps img, .maps svg { flex: none; min-width: 0; width: 80px; height: 80px; border-radius: 4px; }"""


def neighbours(model: ImageEncoder, data: Data, frontier: Frontier) -> Panel | None:
    """The nearest pictures of a few, at each size that was measured, one size below the other."""
    if data.corpus is None or data.corpus.of != "image" or len(data.corpus) < 3:
        return None
    every = max(1, -(-len(data.corpus) // LOOKED_AT))
    places = range(0, len(data.corpus), every)
    items = data.corpus.take(places)
    labels = None if data.labels is None else [data.labels[place] for place in places]
    features = model.features(items.rows)
    sizes = sorted((one.size for one in frontier.arm(NESTED)), key=lambda one: one.dims)
    asked = np.linspace(0, len(items) - 1, min(ASKED, len(items))).astype(int)
    found = {}
    for size in sizes:
        rows = model.at(size).project(features)
        scores = rows[asked] @ rows.T
        scores[np.arange(len(asked)), asked] = -np.inf
        found[size] = np.argsort(-scores, axis=1, kind="stable")[:, : min(NEAREST, len(items) - 1)]
    parts = []
    for row, place in enumerate(asked):
        lines = []
        for size in sizes:
            cells = "".join(
                f"<td{_other(labels, place, one)}>{_picture(items.rows[one], items.ids[one], labels, one)}</td>"
                for one in found[size][row]
            )
            lines.append(f"<tr><th>{size.dims} dims</th>{cells}</tr>")
        first = _picture(items.rows[place], items.ids[place], labels, place)
        parts.append(f'<div class="seen"><table><tr><th>asked</th><td>{first}</td></tr>{"".join(lines)}</table></div>')
    marked = " A frame marks those of another class." if labels is not None else ""
    among = f" Among {len(items)} pictures, evenly drawn." if every > 1 else ""
    return Panel(
        "The nearest pictures at each size",
        f'<p class="soft">Nearest first.{marked}{among}</p><div class="seens">{"".join(parts)}</div>',
        _STYLE,
    )


def clusters(model: ImageEncoder, data: Data, frontier: Frontier) -> Panel | None:
    """Clusters of patches of a few pictures, with position and with it taken out; None where it was not."""
    rows = _rows(data)
    if model.flat is None or len(rows) < 2:
        return None
    shown = [rows[place] for place in np.linspace(0, len(rows) - 1, min(40, len(rows))).astype(int)]
    with torch.no_grad():
        before = torch.cat([model.tower(model.tower.pixels([one], squeezed=True)).patches.cpu() for one in shown])
    maps = [_clustered(one) for one in (before, before @ model.flat.detach().cpu().T)]
    chosen = np.linspace(0, len(shown) - 1, min(MAPS, len(shown))).astype(int)
    cells = "".join(
        f"<figure><div>{_picture(shown[place], f'picture {place}', None, place, squeezed=True)}{_drawn(maps[0][place])}"
        f"{_drawn(maps[1][place])}</div></figure>"
        for place in chosen
    )
    said = (
        f"Each picture, then its patches in {CLUSTERS} clusters of k-means over {len(shown)} pictures: before, and "
        "without position. Where a colour keeps to one side of every picture, it follows the place and not the thing."
    )
    return Panel("Clusters of patches", f'<p class="soft">{said}</p><div class="maps">{cells}</div>', _STYLE)


def _rows(data: Data) -> list[Any]:
    if data.table is not None and data.table.kinds.get("image") == "image":
        return list(data.table["image"])
    return list(data.corpus.rows) if data.corpus is not None and data.corpus.of == "image" else []


def _clustered(tokens: torch.Tensor) -> np.ndarray:
    rows = torch.nn.functional.normalize(tokens.flatten(0, 2), dim=-1)
    return k_means(rows, CLUSTERS, restarts=1).reshape(tokens.shape[:3]).numpy()


def _other(labels: Any, one: int, other: int) -> str:
    return ' class="other"' if labels is not None and labels[one] != labels[other] else ""


def _picture(source: Any, name: str, labels: Any, place: int, *, squeezed: bool = False) -> str:
    small, file = picture(source), io.BytesIO()
    small = small.resize((96, 96)) if squeezed else small
    small.thumbnail((96, 96))
    small.save(file, "JPEG", quality=75)
    said = escape(f"{name}, {labels[place]}" if labels is not None else name, quote=True)
    return (
        f'<img src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}" alt="{said}" title="{said}">'
    )


def _drawn(places: np.ndarray) -> str:
    """Cells of a grid, in a colour for each cluster."""
    rows, columns = places.shape
    colours = [f"hsl({place * 360 // CLUSTERS} 60% 55%)" for place in range(CLUSTERS)]
    cells = "".join(
        f'<rect x="{across}" y="{down}" width="1.02" height="1.02" style="fill:{colours[places[down, across]]}"/>'
        for down in range(rows)
        for across in range(columns)
    )
    box = f'viewBox="0 0 {columns} {rows}" preserveAspectRatio="none"'
    return f'<svg {box} role="img" aria-label="clusters of patches">{cells}</svg>'
