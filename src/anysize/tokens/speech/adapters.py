"""
What a method trained, alone: a folder that stands on encoders and a language model that lie elsewhere.

It holds the weights of one size, the names of the models that they were trained over, and fingerprints by which others
are refused. `anysize.load` opens such a folder where the models still lie under their names; `join` takes others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from anysize.core.arguments import PATH, takes
from anysize.core.engine_checks import Exported
from anysize.core.errors import AnysizeError, CheckpointError, refused_as_damaged
from anysize.core.files import new_directory, read_object, write_json
from anysize.core.model import checkpoint
from anysize.core.sizes.nesting import Nesting
from anysize.tokens.speech.fit import parts_named
from anysize.tokens.speech.holding import Parts
from anysize.tokens.speech.model import NestedSpeech

MARKER, WEIGHTS = "speech-adapters.json", "speech-adapters.safetensors"
FORMAT = 1
CALLED = {"lm": "language model", "encoder": "encoder of sound", "lips": "encoder of frames"}
"""A part, by the option of fit that names it -> what it is called in a sentence."""


def write(view: NestedSpeech, path: str | os.PathLike[str]) -> Exported:
    """
    Write what was trained of a view's size: projectors, marks and adapters.

    Raises `AnysizeError` for a model whose encoders and language model learnt too, since these would be lost.
    """
    from safetensors.torch import save_file

    options = view.about.get("options", {})
    if options.get("train") == "all":
        raise AnysizeError(
            "the encoders and the language model of this model learnt too, so its adapters cannot stand without them; "
            "cut it in the format anysize"
        )
    small = view.extract()
    parts = Parts(small.lm, None, **dict(small.encoders.items()))
    base = {
        option: {"name": _lasting(options.get(option)), "fingerprint": fingerprint(part)}
        for option, part in _parts(parts)
    }
    with new_directory(path, marker=MARKER) as directory:
        tensors = {name: weight.detach().cpu().contiguous() for name, weight in small.learnt().items()}
        save_file(tensors, str(directory / WEIGHTS))
        told = {
            "format": FORMAT, "kind": view.kind, "base": base, "nesting": small.nesting.to_json(), "spec": small.spec,
            "about": small.about, "fingerprint": small.fingerprint,
        }  # fmt: skip
        write_json(directory / MARKER, told)
    note = "it stands on " + " and ".join(f"the {CALLED[option]} {one['name']}" for option, one in base.items())
    return Exported("adapters", notes=(note,), how=f'anysize.load("{path}")')


@takes(folder=PATH)
def join(
    folder: str | os.PathLike[str], *, lm: str | None = None, encoder: str | None = None, lips: str | None = None
) -> NestedSpeech:
    """
    The model that `write` wrote the adapters of, over models by folder or hub name; without one, where it was.

    Raises `CheckpointError` if the folder holds no adapters or is damaged, and `AnysizeError` if a model that they
    stand on is not there, or is another than they were trained over.
    """
    from safetensors.torch import load_file

    directory = Path(folder)
    told = read_object(directory / MARKER, "adapters of speech")
    with refused_as_damaged(f"{directory} does not say what its adapters are"):
        if told["format"] > FORMAT:
            raise CheckpointError(f"{directory} was written by a newer anysize; update anysize to read it")
        nesting, base = Nesting.from_json(told["nesting"]), dict(told["base"])
        names = {"lm": lm, "encoder": encoder, "lips": lips}
        named = {option: names[option] or one["name"] for option, one in base.items()}
        wanted = {option: one["fingerprint"] for option, one in base.items()}
    for option, name in named.items():
        if name is None:
            raise AnysizeError(f"{directory} does not say which {CALLED[option]} it stands on; give it as {option}=")
    parts = parts_named(nesting.axes, **named)
    for option, part in _parts(parts):
        if fingerprint(part) != wanted[option]:
            raise AnysizeError(
                f"the adapters in {directory} were trained over another {CALLED[option]} than {named[option]}, whose "
                f"weights differ; give join() the one they were trained over as {option}="
            )
    with refused_as_damaged(f"{directory} does not fit its own description"):
        model = NestedSpeech(nesting, parts, told["spec"])
        tensors = load_file(str(directory / WEIGHTS))
        if tensors.keys() != model.learnt().keys():
            raise CheckpointError(f"{directory / WEIGHTS} holds other weights than {MARKER} describes")
        model.load_state_dict(tensors, strict=False)
    model.about = told["about"]
    model._keep_fingerprint(told["fingerprint"])
    return model.eval()


def fingerprint(part: nn.Module) -> str:
    """Of the weights of a model that adapters stand on, whatever was put into it since."""
    digest = hashlib.sha256()
    for name, tensor in sorted(part.state_dict().items()):
        if ".lora_" not in name:
            digest.update(name.replace(".base_layer.", ".").encode())
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(checkpoint.raw_bytes(tensor))
    return digest.hexdigest()


def _parts(parts: Parts) -> list[tuple[str, nn.Module]]:
    """The option of fit that names it, and the model, of those there are."""
    held: Mapping[str, Any] = {"lm": parts.lm, "encoder": parts.audio, "lips": parts.video}
    return [(option, part) for option, part in held.items() if part is not None]


def _lasting(name: str | None) -> str | None:
    """A name of a folder or file that means the same from anywhere; a hub name as it is."""
    return os.path.abspath(name) if name is not None and os.path.exists(name) else name
