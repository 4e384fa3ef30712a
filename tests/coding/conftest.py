"""A coder of the invented clinic, fitted once a process."""

from __future__ import annotations

import pytest
from recipes.coding_sample import write

from anysize.coding.method import ICD
from anysize.coding.reading.data import read_folder


@pytest.fixture(scope="session")
def clinic(tmp_path_factory):
    return write(tmp_path_factory.mktemp("clinic"), train=60, test=20)


@pytest.fixture(scope="session")
def method():
    return ICD(dims=(4, 8, 16), candidates=(10, 20), folds=2, epochs=3, iterations=30)


@pytest.fixture(scope="session")
def coder(clinic, method):
    return method.fit(read_folder(clinic))
