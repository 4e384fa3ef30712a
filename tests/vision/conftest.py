from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_vision import write_folder, write_tower


@pytest.fixture(scope="session")
def tower_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of transformers that holds a tiny DINOv2."""
    return str(write_tower(tmp_path_factory.mktemp("towers") / "tiny"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder of 60 pictures of three classes."""
    return write_folder(tmp_path_factory.mktemp("pictures") / "photos", 60)
