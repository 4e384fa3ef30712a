"""What the model is measured beside, apart from its fixed-size twins, which anysize trains."""

from __future__ import annotations

import anysize as az
from anysize.extending import check_same_data, method_of
from anysize_stages.fit import begun
from anysize_stages.model import ResidualQuantizer


def random(model: ResidualQuantizer, data: az.Data) -> list[ResidualQuantizer]:
    """Codebooks of rows as they are, with nothing learnt: what learning must beat."""
    check_same_data(model, data, "random")
    drawn = begun(method_of(model), data)
    return [drawn.at(size) for size in model.nesting]
