"""Whatever a public function is given, it answers or says in one sentence what was wrong."""

from __future__ import annotations

import os

import pytest

from anysize.core.errors import AnysizeError
from tests.wrong_input.places import PLACES
from tests.wrong_input.shop import open_shop
from tests.wrong_input.zoo import ANIMALS


@pytest.fixture(scope="module")
def shop(tmp_path_factory, encoder_path, lm_path):
    root = tmp_path_factory.mktemp("shop")
    before = os.getcwd()
    os.chdir(root)  # an animal may be taken for the name of a file
    yield open_shop(root, encoder_path, lm_path)
    os.chdir(before)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_every_animal_is_answered_or_refused_in_a_sentence(place, shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an animal may be taken for a file's name, and be written: the next place starts clean
    refused, left_out = place.refuses.split(", "), place.leaves_out.split(", ")
    assert {*refused, *filter(None, left_out)} <= ANIMALS.keys()
    wrong = []
    for name, animal in ANIMALS.items():
        if name in left_out:
            continue
        try:
            place.call(shop, animal)
        except AnysizeError as error:
            said = str(error)
            if "\n" in said or not 10 < len(said) < 400 or "NoneType" in said:
                wrong.append(f"{name}: not a sentence: {said[:300]!r}")
        except Exception as error:  # the point of the test
            wrong.append(f"{name}: {type(error).__name__}: {str(error)[:100]!r}")
        else:
            if name in refused:
                wrong.append(f"{name}: accepted")
    assert not wrong, "\n" + "\n".join(wrong)
