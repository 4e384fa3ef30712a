"""What a package that brings a method, a model or an evaluator uses beside the public names; see ``docs/plugin``."""

from anysize.core.model.faces import Answers, Classifies, Embeds, Generates, Predicts, Rebuilds, Searches
from anysize.core.model.reported import Reported
from anysize.core.verbs.evaluator import Scores, Task
from anysize.core.verbs.rivals import check_same_data, method_of, single

__all__ = [
    "Answers",
    "Classifies",
    "Embeds",
    "Generates",
    "Predicts",
    "Rebuilds",
    "Reported",
    "Scores",
    "Searches",
    "Task",
    "check_same_data",
    "method_of",
    "single",
]
