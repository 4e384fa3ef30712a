"""Loading and writing a model is not news: the bars and remarks of the libraries that do it are held back meanwhile."""

from __future__ import annotations

import contextlib
import logging as standard
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No bars and no remarks of transformers and sentence-transformers until the end of the block."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    sentences = standard.getLogger("sentence_transformers")
    level = sentences.level
    sentences.setLevel(standard.ERROR)  # it remarks on a model that is not there, and then raises an error that says so
    try:
        yield
    finally:
        sentences.setLevel(level)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
