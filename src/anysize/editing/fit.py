"""What the method ``muke`` does: shifts edit by edit, kept as they are found, and then the write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anysize.backbones.causal import CausalLM
from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.errors import AnysizeError
from anysize.core.progress import bar
from anysize.editing.deltas.changes import Change, joined
from anysize.editing.deltas.delta import Delta
from anysize.editing.editor import Editor
from anysize.editing.methods import MuKE
from anysize.editing.model.model import EditedLM
from anysize.editing.plan import Plan, kept_plan
from anysize.editing.requests.readers import requests_of
from anysize.editing.requests.request import EditRequest
from anysize.editing.shifts.optimise import NotFiniteError
from anysize.editing.writing.projection import check_folder
from anysize.editing.writing.usual import PASSAGES, QUESTIONS


def fit(method: MuKE, data: Data, workdir: Path, resume: bool) -> EditedLM:
    """
    The edits of `data`, written into the model that the method names; each is kept in `workdir` once it is found.

    An edit whose loss is no finite number is left out, and said. Raises `DataError` for edits that do not fit.
    """
    name = method.base_model()
    requests = requests_of(data)  # what is wrong with them is said before a model is loaded
    check_folder(name)
    return edited(CausalLM.from_pretrained(name), method, requests, workdir)


def edited(base: CausalLM, method: MuKE, requests: Sequence[EditRequest], workdir: Path) -> EditedLM:
    """The same, of a model and requests."""
    texts = PASSAGES if method.texts is None else read(method.texts).texts
    prompts = QUESTIONS if method.prompts is None else read(method.prompts).texts
    editor = Editor(base, method, texts=texts, prompts=prompts)
    for one in requests:
        editor.prompting.encode(one)
    folder = workdir / "edits"
    folder.mkdir(exist_ok=True)
    plans, left_out, changes = list[Plan](), dict[str, str](), list[dict[str, Change]]()
    with bar(len(requests), "editing", " edits") as shown:
        for place, request in enumerate(requests):
            shown.set_postfix(edit=request.id)
            file = folder / f"{place:06}.safetensors"
            try:
                found, change = kept_plan(file, request, editor.prompting) or _made(
                    file, editor, request, plans, changes, shown
                )
            except NotFiniteError as error:
                left_out[request.id] = str(error)
            else:
                plans.append(found)
                changes.append(change)
            shown.update(1)
    if not plans:
        raise AnysizeError(f"no edit could be made: {next(iter(left_out.values()))}")
    written = {name: joined([one[name] for one in changes]) for name in changes[0]} if method.sequential else {}
    delta = Delta(written or editor.write(plans), tuple(one.request for one in plans), editor.fingerprint)
    told = {"chat": editor.prompting.chat, "records": [one.record() for one in plans]}
    alone = method.writer == "ft"
    made = EditedLM.of(base, delta, told, max(len(one.bounds) - 1 for one in plans) if alone else None)
    made.about = {"learnt_from": "edits", "rows": len(plans), **({"left_out": left_out} if left_out else {})}
    return made


def _made(
    file: Path, editor: Editor, request: EditRequest, plans: Sequence[Plan], changes: Sequence[dict[str, Change]],
    shown: Any,
) -> tuple[Plan, dict[str, Change]]:  # fmt: skip
    """The shifts of one edit, and what writes them where edits follow one another; both are kept in a file."""
    lm = editor.lm
    if editor.method.sequential and changes:
        lm = Delta({name: joined([one[name] for one in changes]) for name in changes[0]}, (), "").view(lm)
    plan = editor.plan(request, lm, lambda window: shown.set_postfix(edit=request.id, window=str(window + 1)))
    change = editor.write([plan], lm, [one.encoded for one in plans]) if editor.method.sequential else {}
    plan.save(file, change)
    return plan, change
