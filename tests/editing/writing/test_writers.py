import pytest
import torch

from anysize.backbones.blocks import find_stack
from anysize.backbones.twins import with_weights
from anysize.core.errors import AnysizeError
from anysize.editing.requests.prompting import Prompting
from anysize.editing.shifts.optimise import Goal, fit_shifts
from anysize.editing.shifts.suffix import Suffix
from anysize.editing.writing.closed import Solving, write
from anysize.editing.writing.preserve import Preserved
from anysize.editing.writing.projection import check_editable, projection
from anysize.editing.writing.tuned import Tuning, fine_tune, unke
from tests.editing.conftest import FIRST, OTHER, tiny

LAYER = 2
TEXTS = ("The river rises in the hills and runs to the lake.", "Bread is made of flour, water and salt.")
ASKED = ("Who?", "Where is it?")


def edits_of(lm, tokenizer):
    prompting = Prompting(tokenizer, 128)
    found = []
    for request, cuts in ((FIRST, [0, 14, 28]), (OTHER, [0, 18])):
        encoded = prompting.encode(request)
        bounds = [*cuts, len(encoded.target)]
        found.append((encoded, fit_shifts(Suffix(lm, LAYER), encoded, bounds, Goal(steps=6))))
    return found, Preserved(lm, prompting, TEXTS, ASKED)


def states_of(lm, encoded, layer=LAYER):
    return Suffix(lm, layer).states(encoded.ids[:-1])[0][0]


def written(lm, changes, windows=None):
    return with_weights(lm, {name: lm.get_parameter(name) + one.change(windows) for name, one in changes.items()})


def test_a_closed_form_moves_the_states_of_the_windows_and_no_others(lm, tokenizer):
    edits, preserved = edits_of(lm, tokenizer)
    changes = write(lm, edits, [LAYER], preserved, Solving(weight=1e-4))
    (name,) = changes
    assert changes[name].change().shape == lm.get_parameter(name).shape
    for windows in (1, 2, 3, None):
        after = written(lm, changes, windows)
        for encoded, found in edits:
            before, now = states_of(lm, encoded), states_of(after, encoded)
            wanted = torch.zeros_like(before)
            places = found.places[:windows]
            wanted[places] = found.shifts[: len(places)]
            error = (now - before - wanted).norm() / found.shifts.norm()
            assert error < 0.35, (windows, error)
    torch.testing.assert_close(written(lm, changes, 0).get_parameter(name), lm.get_parameter(name))


def test_memit_is_the_least_squares_solution():
    generator = torch.Generator().manual_seed(0)
    keys, stay = (torch.randn(n, 6, generator=generator, dtype=torch.double) for n in (2, 9))
    residuals = torch.randn(2, 4, generator=generator, dtype=torch.double)
    moments = stay.T @ stay / 9
    columns = Solving(weight=3.0).columns(keys, stay, moments)
    change = (residuals.T @ columns.T).requires_grad_()
    ridge = 3.0 * 0.05 * moments.diagonal().mean()
    loss = (
        ((keys @ change.T - residuals) ** 2).sum() + ((stay @ change.T) ** 2).sum()
        + 3.0 * (change @ moments * change).sum() + ridge * (change**2).sum()
    )  # fmt: skip
    loss.backward()
    assert change.grad.abs().max() < 1e-9  # the minimum


def test_alphaedit_writes_only_where_texts_are_not():
    generator = torch.Generator().manual_seed(0)
    base = torch.zeros(8, 8, dtype=torch.double)
    base[:3, :3] = torch.eye(3)
    keys = torch.randn(2, 8, generator=generator, dtype=torch.double)
    columns = Solving("alphaedit", l2=1e-6).columns(keys, torch.zeros(0, 8, dtype=torch.double), base)
    assert columns[:3].abs().max() < 1e-9
    torch.testing.assert_close(keys @ columns, torch.eye(2, dtype=torch.double), atol=1e-3, rtol=0)
    with pytest.raises(AnysizeError, match="the texts use every direction"):
        Solving("alphaedit").columns(keys, keys, torch.eye(8, dtype=torch.double))


def test_keys_of_other_prompts_keep_the_first_shift_to_its_own(tokenizer):
    """All prompts of a template end alike, and what is written for one is written for all, unless they are kept."""
    lm = tiny("llama")
    edits, preserved = edits_of(lm, tokenizer)
    where = projection(lm, LAYER)
    moved = []
    for prompts in (ASKED, ("nothing alike",)):
        changes = write(lm, edits, [LAYER], Preserved(lm, preserved.prompting, TEXTS, prompts), Solving(weight=1e-4))
        others = Preserved(lm, preserved.prompting, TEXTS, ASKED).others(where).float()
        moved.append((others @ changes[where.name].change().T).norm())
    assert moved[0] < 0.5 * moved[1]


def test_several_layers_share_the_way(tokenizer):
    lm = tiny("llama")
    edits, preserved = edits_of(lm, tokenizer)
    changes = write(lm, edits, [1, LAYER], preserved, Solving(weight=1e-4))
    assert [name.split(".")[2] for name in changes] == ["1", "2"]
    after = written(lm, changes)
    for encoded, found in edits:
        missing = (states_of(after, encoded)[found.places] - found.states - found.shifts).norm()
        assert missing < 0.4 * found.shifts.norm()
    alone = changes["model.layers.1.mlp.down_proj.weight"]
    half = written(lm, {"model.layers.1.mlp.down_proj.weight": alone})
    encoded, found = edits[0]
    assert (states_of(half, encoded)[found.places] - found.states).norm() > 0.1 * found.shifts.norm()


def test_a_block_is_tuned_to_the_shifted_states_window_by_window(lm, tokenizer):
    edits, preserved = edits_of(lm, tokenizer)
    changes = unke(lm, edits, [LAYER], preserved, Tuning(rate=3e-3, steps=45))
    assert {one.windows for one in changes.values()} == {3}
    block = find_stack(lm).blocks(lm)[LAYER]
    assert len(changes) == len(list(block.parameters()))
    encoded, found = edits[0]

    def missing(windows):
        now = states_of(written(lm, changes, windows), encoded)[found.places]
        return (now - found.states - found.shifts).norm(dim=1) / found.shifts.norm(dim=1)

    assert missing(None).mean() < 0.8
    assert missing(1)[0] < missing(1)[1]  # the first window is written, the second is not yet
    assert missing(None)[2] < missing(1)[2]


def test_fine_tuning_stops_as_soon_as_it_is_good_enough(tokenizer):
    lm = tiny("llama")
    encoded = Prompting(tokenizer).encode(OTHER)

    def loss(model):
        ids = torch.tensor([encoded.ids])
        with torch.no_grad():
            logits = model(input_ids=ids[:, :-1]).logits[0, encoded.start - 1 :]
        return float(torch.nn.functional.cross_entropy(logits, ids[0, encoded.start :]))

    before = loss(lm)
    changes = fine_tune(lm, [encoded], [1, 2], Tuning(rate=1e-2, steps=60, decay=0.0, stop=before / 2))
    assert {name.split(".")[2] for name in changes} == {"1", "2"}
    assert before / 4 < loss(written(lm, changes)) <= before / 2
    assert not fine_tune(lm, [encoded], [1], Tuning(stop=100.0)).popitem()[1].change().any()


def test_what_cannot_be_edited_is_refused():
    lm = tiny("llama")
    with pytest.raises(
        AnysizeError, match=r"no linear layer called 'mlp\.down'; name one.*self_attn\.q_proj.*mlp\.down_proj"
    ):
        projection(lm, 1, "mlp.down")
    lm.config.quantization_config = {"bits": 4}
    with pytest.raises(AnysizeError, match="this model is quantised"):
        check_editable(lm)
