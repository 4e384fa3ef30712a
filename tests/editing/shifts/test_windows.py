import pytest

from anysize.core.errors import AnysizeError
from anysize.editing.shifts.weights import token_weights, window_weights
from anysize.editing.shifts.windows import Target, windows

PIECES = ["A", " b", ".", " C", " d", " e", ".", " F", " g", " h", "!", "\n", " I", "</s>"]
TARGET = Target(PIECES, [9, 1, 1, 2, 1, 1, 1, 8, 7, 1, 1, 1, 3, 1])


def test_windows_are_cut_and_a_short_tail_belongs_to_the_one_before():
    assert windows(TARGET, 6) == [0, 6, 14]
    assert windows(TARGET, 4) == [0, 4, 8, 12, 14]
    assert windows(TARGET, None) == [0, 14]
    assert windows(TARGET, 100) == [0, 14]


def test_sentences_and_surprise_begin_windows():
    assert windows(TARGET, 4, "sentence") == [0, 3, 7, 11, 14]
    assert windows(TARGET, 6, "sentence") == [0, 3, 7, 11, 14]
    assert windows(TARGET, 5, "surprisal") == [0, 3, 7, 14]


def test_a_splitter_of_ones_own_is_used_and_checked():
    assert windows(TARGET, 2, lambda target, length: [0, 3, 9]) == [0, 3, 9, 14]
    for wrong in ([], [1, 3], [0, 3, 3], [0, 14], [0, 1.5], ["0"]):
        with pytest.raises(AnysizeError, match="expected where windows begin, rising from 0"):
            windows(TARGET, 2, lambda target, length, wrong=wrong: wrong)
    with pytest.raises(AnysizeError, match="there is no splitter 'words'; there are: fixed, sentence, surprisal"):
        windows(TARGET, 2, "words")


def test_nested_weights_count_the_targets_that_hold_a_window():
    assert window_weights(4, 0) == [1, 0.75, 0.5, 0.25]
    assert window_weights(4, 2) == [1, 0.5]
    assert window_weights(4, 1, "window") == [1, 0, 0]
    assert window_weights(4, 1, "last") == [1, 1, 1]
    assert window_weights(4, 3, "affinity", [1.0]) == [1.0]


def test_affinities_are_read_forward_or_as_the_published_code_reads_them():
    # The targets end with windows 0, 1 and 2; the gradient of the longest agrees least.
    affinities = [1.0, 0.8, 0.2]
    forward = [1.0, 1.2, 1.8]
    assert window_weights(3, 0, "affinity", affinities, "forward") == pytest.approx(
        [sum(forward) / 3, sum(forward[1:]) / 3, forward[2] / 3]
    )
    code = [1.8, 1.2, 1.0]  # the own window's target has the most, the longest 2 - 1
    assert window_weights(3, 0, "affinity", affinities, "code") == pytest.approx(
        [sum(code) / 3, sum(code[1:]) / 3, code[2] / 3]
    )


def test_tokens_have_the_weight_of_their_window():
    assert token_weights([0, 2, 5, 6], 1, [1, 0.5]) == [1, 1, 1, 0.5]
