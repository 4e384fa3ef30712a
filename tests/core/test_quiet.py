from __future__ import annotations

import contextlib
import logging
import threading

import pytest
from transformers.utils import logging as theirs

from anysize.core.quiet import quiet


def state():
    return theirs.get_verbosity(), theirs.is_progress_bar_enabled(), logging.getLogger("sentence_transformers").level


@pytest.fixture
def before():
    kept = state()
    theirs.set_verbosity_info()
    logging.getLogger("sentence_transformers").setLevel(logging.INFO)
    yield state()
    theirs.set_verbosity(kept[0])
    logging.getLogger("sentence_transformers").setLevel(kept[2])


def test_all_is_as_it_was_after_an_error(before):
    with contextlib.suppress(ValueError), quiet():
        with quiet():
            pass
        assert state() == (theirs.ERROR, False, logging.ERROR)
        raise ValueError
    assert state() == before


def test_blocks_of_several_threads_that_overlap_end_as_it_was(before):
    entered, leave = threading.Event(), threading.Event()

    def first():
        with quiet():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(10)
    with quiet():  # begins within the other, and ends after it
        leave.set()
        thread.join(10)
        assert state() == (theirs.ERROR, False, logging.ERROR)
    assert state() == before
