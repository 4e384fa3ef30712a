from __future__ import annotations

import pytest

from anysize.core.errors import AnysizeError
from anysize.core.model.cost import Cost


def test_cost_refuses_a_negative_count():
    with pytest.raises(AnysizeError, match="flops is -1"):
        Cost(bytes=4, parameters=0, flops=-1)
