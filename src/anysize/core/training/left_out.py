"""What a training is watched by: a judge of the model, or the loss of rows that the training leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anysize.core.errors import DataError
from anysize.core.training.watching import Watch

Judge = Callable[[Any], Mapping[str, float]]
"""A model, all of whose sizes can be asked for -> size -> how good it is, higher is better."""


def watched(
    method: Any,
    rows: Any,
    batch_size: int,
    run: Callable[[list[Any]], Any],
    judge: Judge | None = None,
    model: Callable[[], Any] | None = None,
) -> tuple[Any, Watch | None]:
    """
    The rows to train on, and what to watch the training by, if anything.

    A `judge` is shown ``model()``, the model with the weights of that moment. Without one, the share of the rows that
    ``method.watch`` names is left out, and ``run(rows)`` gives their ``loss`` and, if the module tells them, its
    ``terms`` by size. Raises `DataError` for fewer than two rows on either side.
    """
    if judge is not None:
        assert model is not None
        made, judged = model, judge
        return rows, Watch(lambda: judged(made()), "what was given", patience=method.patience)
    if method.watch is None:
        return rows, None
    kept, left_out = split(rows, method.watch, method.seed)
    by = f"the loss of {len(left_out)} rows left out"
    return kept, loss_of(left_out, batch_size, run, by=by, patience=method.patience)


def split(rows: Any, share: float, seed: int) -> tuple[Any, Any]:
    """Rows to train on and a share of them to watch by, drawn at random; the same for the same seed."""
    import torch

    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    count = round(share * len(rows))
    if min(count, len(rows) - count) < 2:
        raise DataError(
            f"watch={share:g} of {len(rows)} rows is {count}: at least 2 are needed to watch by, and to learn from"
        )
    kept, left_out = sorted(order[count:]), sorted(order[:count])
    return torch.utils.data.Subset(rows, kept), torch.utils.data.Subset(rows, left_out)


def loss_of(
    rows: Any, batch_size: int, run: Callable[[list[Any]], Any], *, by: str, patience: int | None = None
) -> Watch:
    """A watch over the mean loss of rows, in full batches as they are learnt in: a batch's size decides its loss."""
    size = min(batch_size, len(rows))
    starts = range(0, len(rows) - size + 1, size)

    def score() -> dict[str, float]:
        sums: dict[str, list[float]] = {}
        for start in starts:
            found = run([rows[place] for place in range(start, start + size)])
            for name, term in {"loss": found["loss"], **found.get("terms", {})}.items():
                sums.setdefault(str(name), []).append(float(term))
        return {name: sum(terms) / len(terms) for name, terms in sums.items()}

    return Watch(score, by, "loss", lower_is_better=True, patience=patience)


def runner(module: Any, collate: Callable[[Sequence[Any]], Any] | None = None) -> Callable[[list[Any]], Any]:
    """How a module that `train` trains runs on rows, on the device where it stands."""

    def run(rows: list[Any]) -> Any:
        from torch.utils.data import default_collate

        device = next(module.parameters()).device
        return module(**_moved((collate or default_collate)(rows), device))

    return run


def _moved(value: Any, device: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _moved(part, device) for name, part in value.items()}
    return [_moved(part, device) for part in value] if isinstance(value, list) else value
