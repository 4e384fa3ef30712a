"""
How alike two texts are, by name: ROUGE-L recall and F1, sacreBLEU, and the character BLEU of the published scripts.

The published scripts of muKE, AnyEdit and UnKE call nltk's sentence BLEU with two whole strings, which it takes for
lists of characters: `bleu_char_legacy`. Their ROUGE is recall alone, which rambling on after the answer does not lower.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from anysize.core.errors import AnysizeError


def text_scores(said: Sequence[str], wanted: Sequence[str]) -> dict[str, list[float]]:
    """Of each pair of texts: rouge_l_recall, rouge_l_f1 and bleu, from 0 to 1, and bleu_char_legacy."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise AnysizeError("measuring edits needs the 'editing' extra: pip install 'anysize[editing]'") from None
    scorer: Any = RougeScorer(["rougeL"], use_stemmer=False)
    bleu = BLEU(effective_order=True)
    pairs = list(zip(said, wanted, strict=True))
    rouge = [scorer.score(target, prediction)["rougeL"] for prediction, target in pairs]
    return {
        "rouge_l_recall": [one.recall for one in rouge],
        "rouge_l_f1": [one.fmeasure for one in rouge],
        "bleu": [bleu.sentence_score(prediction, [target]).score / 100 for prediction, target in pairs],
        "bleu_char_legacy": [character_bleu(prediction, target) for prediction, target in pairs],
    }


def character_bleu(said: str, wanted: str) -> float:
    """BLEU over single characters up to four in a row, without smoothing: nltk's ``sentence_bleu([wanted], said)``."""
    logs = []
    for n in range(1, 5):
        have, want = (Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in (said, wanted))
        hits = sum((have & want).values())
        if not hits:
            return 0.0
        logs.append(math.log(hits / max(sum(have.values()), 1)))
    penalty = 1.0 if len(said) > len(wanted) else math.exp(1 - len(wanted) / len(said))
    return penalty * math.exp(sum(logs) / 4)


def cosines(name: str, said: Sequence[str], wanted: Sequence[str]) -> list[float]:
    """The cosine of sentence embeddings by a model that the user names; no BERTScore, which compares tokens."""
    import numpy as np

    from anysize.backbones.sentence import Encoder

    encoder = Encoder(name)
    one, other = (np.asarray(encoder.embed(list(texts))) for texts in (said, wanted))
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return [float(value) for value in (one * other).sum(1) / np.maximum(norms, 1e-12)]


def agreement(said: str, wanted: str) -> list[tuple[str, bool]]:
    """The words that were said, each with whether it is of the longest common sequence of words with the target."""
    left, right = said.split(), wanted.split()
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in reversed(range(len(left))):
        for j in reversed(range(len(right))):
            same = left[i] == right[j]
            table[i][j] = table[i + 1][j + 1] + 1 if same else max(table[i + 1][j], table[i][j + 1])
    found, j = [], 0
    for i, word in enumerate(left):
        while j < len(right) and word != right[j] and table[i][j + 1] == table[i][j] and table[i][j] > table[i + 1][j]:
            j += 1
        same = j < len(right) and word == right[j]
        j += same
        found.append((word, same))
    return found
