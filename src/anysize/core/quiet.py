"""Loading and writing a model is not news: the bars and remarks of the libraries that do it are held back meanwhile."""

from __future__ import annotations

import contextlib
import logging as standard
import threading
from collections.abc import Callable, Iterator

_LOCK = threading.Lock()
_within = 0
"""Blocks that run now, of all threads: the first holds the libraries back, and the last lets them go."""
_restore: Callable[[], None]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No bars and no remarks of transformers and sentence-transformers until the end of the block."""
    global _within, _restore
    with _LOCK:
        if _within == 0:
            _restore = _held_back()
        _within += 1
    try:
        yield
    finally:
        with _LOCK:
            _within -= 1
            if _within == 0:
                _restore()


def _held_back() -> Callable[[], None]:
    """Hold them back; what is given lets them go."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    sentences = standard.getLogger("sentence_transformers")
    level = sentences.level
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    sentences.setLevel(standard.ERROR)  # it remarks on a model that is not there, and then raises an error that says so

    def restore() -> None:
        sentences.setLevel(level)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

    return restore
