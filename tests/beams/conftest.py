"""Links of a small urban macro sector, drawn once by Sionna (recipes/channels), and a book that was learnt on them."""

from __future__ import annotations

from pathlib import Path

import pytest

import anysize as az
from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.methods import Beams

FILE = Path(__file__).parents[2] / "recipes" / "channels" / "uma.npz"
SIZES = (2, 4, 8, 16)


@pytest.fixture(scope="session")
def links() -> az.Data:
    return az.read(FILE)


@pytest.fixture(scope="session")
def channels(links) -> Channels:
    return channels_of(links)


@pytest.fixture(scope="session")
def book(links):
    return Beams(beams=SIZES, steps=120).fit(links)
