"""The tests: the same tree as the package. Shapes in signatures of the numerical files are checked at every call."""

from jaxtyping import install_import_hook

# Before those files are imported, which is why it stands here.
NUMERICAL = (
    "anysize.classify.heads",
    "anysize.core.neighbours",
    "anysize.core.prefix",
    "anysize.search.pool",
    "anysize.search.queries",
    "anysize.search.scan",
    "anysize.text.head",
)
install_import_hook(NUMERICAL, "beartype.beartype")
