"""The tests: the same tree as the package. Shapes in signatures of the numerical files are checked at every call."""

from jaxtyping import install_import_hook

# Before those files are imported, which is why it stands here.
NUMERICAL = (
    "anysize.classify.heads",
    "anysize.evaluation.nearest",
    "anysize.core.losses.prefix",
    "anysize.search.scoring.pool",
    "anysize.search.intake.queries",
    "anysize.search.scoring.scan",
    "anysize.core.losses.head",
)
install_import_hook(NUMERICAL, "beartype.beartype")
