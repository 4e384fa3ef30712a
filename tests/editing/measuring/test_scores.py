import math

import pytest
from nltk.translate.bleu_score import sentence_bleu
from rouge_score.rouge_scorer import RougeScorer

from anysize.editing.measuring.scores import agreement, character_bleu, text_scores

WANTED = "Ada Berg was born in the old harbour town of Lund."
SAID = "Ada Berg was born in Lund, an old town near the harbour."


def test_character_bleu_is_what_the_published_scripts_compute():
    for said in (SAID, WANTED, "Ada Berg", "x" * 40 + WANTED):
        assert character_bleu(said, WANTED) == pytest.approx(sentence_bleu([WANTED], said))
    assert character_bleu("zz", WANTED) == character_bleu("", WANTED) == 0.0


def test_recall_does_not_punish_rambling_and_f1_does():
    rambling = f"{WANTED} {'And so on it goes. ' * 20}"
    found = text_scores([WANTED, rambling, ""], [WANTED] * 3)
    assert found["rouge_l_recall"] == [1.0, 1.0, 0.0]
    assert found["rouge_l_f1"][1] < 0.3
    assert found["bleu"][0] == pytest.approx(1.0)
    wanted = RougeScorer(["rougeL"]).score(WANTED, SAID)["rougeL"]
    mine = text_scores([SAID], [WANTED])
    assert (mine["rouge_l_recall"][0], mine["rouge_l_f1"][0]) == (wanted.recall, wanted.fmeasure)
    assert not any(math.isnan(value) for values in found.values() for value in values)


def test_words_of_the_longest_common_sequence_are_marked():
    marked = agreement("Ada was not born in Oslo but in Lund", "Ada Berg was born in old Lund")
    assert [word for word, same in marked if same] == ["Ada", "was", "born", "in", "Lund"]
    assert " ".join(word for word, _ in marked) == "Ada was not born in Oslo but in Lund"
    assert agreement("", "a") == []
