"""What a model gives for an item depends on that item alone, whatever stands beside it; for no items it gives none."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from anysize.core.data.records import Items
from tests.core.model.test_saved_models import KINDS
from tests.core.model.test_threads import SHORT, plain
from tests.core.verbs.test_run import items_for
from tests.kinds import models

TOGETHER = {"codebook", "ssb-encoder"}
"""Kinds whose items are one thing: links of a drop."""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in TOGETHER])
def test_an_item_is_answered_as_it_is_alone(kind, encoder_path, lm_path):
    model = models(encoder_path, lm_path)[kind][0]().eval()
    items, options = items_for(kind), {"max_new_tokens": 4} if kind in SHORT else {}
    rows = getattr(items, "rows", items)
    given = Items([str(row) for row in range(len(rows))], rows, "vector" if isinstance(rows, np.ndarray) else "text")
    for size in model.nesting:
        view = model.at(size)
        view = view.for_task(model.tasks[0]) if model.tasks else view
        alone = [plain(view.run(given.take([row]).rows, **options)) for row in range(len(rows))]
        for places in ([2, 0], [1, 1], []):
            found = plain(view.run(given.take(places).rows, **options))
            if model.gives == "codes":
                latents, values, offsets = found
                found = [(latents[a:b], values[a:b]) for a, b in itertools.pairwise(offsets)]
                wanted = [tuple(alone[place][:2]) for place in places]
            else:
                wanted = [alone[place][0] for place in places]
            assert len(found) == len(wanted)
            for one, expected in zip(found, wanted, strict=True):
                if isinstance(one, str):
                    assert numbers_apart(one) == numbers_apart(expected)
                else:
                    for a, b in zip(np.atleast_1d(one), np.atleast_1d(expected), strict=True):
                        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def numbers_apart(said: str) -> str:
    """The words, with numbers as far as float32 keeps them."""
    return re.sub(r"\d+\.\d+(e-?\d+)?", lambda found: f"{float(found[0]):.4f}", said)
