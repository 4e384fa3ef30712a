import pytest

from anysize.core.sizes import Nesting
from anysize.quantize.making import finished, prepared
from anysize.text import NestedEncoder
from tests.conftest import WIDTH


@pytest.fixture
def base(encoder_path):
    """A function that gives the float encoder anew, since quantising changes it in place."""
    return lambda **sizes: NestedEncoder.from_pretrained(encoder_path, **(sizes or {"dims": (WIDTH,)}))


@pytest.fixture
def made(base):
    """A function that gives a quantised encoder with these options."""

    def make(nesting=None, sizes=None, **options):
        nesting = nesting or Nesting(bits=(2, 4, 8))
        return finished(prepared(base(**(sizes or {})), nesting, **options))

    return make
