import dataclasses

import pytest
import torch

from anysize.core.errors import AnysizeError, CheckpointError, DataError
from anysize.editing.deltas.changes import LowRank, Whole
from anysize.editing.deltas.delta import Delta, composed, fingerprint_of
from anysize.editing.requests.request import EditRequest
from tests.editing.conftest import FIRST, OTHER, tiny

WEIGHT = "model.layers.1.mlp.down_proj.weight"


def delta_of(lm, requests=(FIRST, OTHER), windows=3, seed=0):
    rows, columns = lm.get_parameter(WEIGHT).shape
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(windows, len(requests), n, generator=generator) for n in (rows, columns))
    return Delta({WEIGHT: LowRank(left, right)}, tuple(requests), fingerprint_of(lm))


def test_edits_come_back_from_their_file_and_go_bit_by_bit(tmp_path):
    lm = tiny("llama")
    before = {name: value.clone() for name, value in lm.state_dict().items()}
    delta = delta_of(lm)
    delta.save(tmp_path / "edits.safetensors")
    loaded = Delta.load(tmp_path / "edits.safetensors")
    assert loaded.requests == delta.requests
    applied = loaded.apply(lm, windows=2)
    change = delta.changes[WEIGHT]
    wanted = sum(torch.outer(change.left[j, e], change.right[j, e]) for j in range(2) for e in range(2))
    torch.testing.assert_close(lm.get_parameter(WEIGHT), before[WEIGHT] + wanted)
    with pytest.raises(CheckpointError, match="belongs to another model"):
        loaded.apply(lm)  # it is edited now
    applied.revert()
    assert all(torch.equal(value, before[name]) for name, value in lm.state_dict().items())
    with pytest.raises(CheckpointError, match=r"belongs to another model \(fingerprint .*apply it to the model that"):
        loaded.apply(tiny("llama", seed=1))


def test_a_view_shares_all_weights_but_the_changed():
    lm = tiny("llama")
    view = delta_of(lm).view(lm)
    same = {name for name, weight in view.named_parameters() if weight is dict(lm.named_parameters())[name]}
    assert {name for name, _ in lm.named_parameters()} - same == {WEIGHT}
    ids = torch.tensor([[5, 6, 7]])
    before = lm(input_ids=ids).logits
    assert (view(input_ids=ids).logits - before).abs().max() > 1e-3
    torch.testing.assert_close(lm(input_ids=ids).logits, before)


def test_edits_are_taken_out_and_put_together():
    lm = tiny("llama")
    third = EditRequest("Where is it?", "It is on the shelf.", id="2")
    one, other = delta_of(lm, windows=2), delta_of(lm, (third,), windows=3, seed=1)
    both = composed([one, other])
    assert [request.id for request in both.requests] == ["0", "1", "2"]
    for windows in (1, 2, 3, None):
        wanted = one.changes[WEIGHT].change(windows) + other.changes[WEIGHT].change(windows)
        torch.testing.assert_close(both.changes[WEIGHT].change(windows), wanted)
    less = both.without(["0", "1"])
    torch.testing.assert_close(less.changes[WEIGHT].change(), other.changes[WEIGHT].change())
    assert [request.id for request in less.requests] == ["2"]
    mixed = composed([one, dataclasses.replace(other, changes={WEIGHT: Whole(torch.ones(1, 32, 192))})])
    torch.testing.assert_close(mixed.changes[WEIGHT].change(2), one.changes[WEIGHT].change(2) + 1)


def test_what_does_not_fit_together_is_refused():
    lm = tiny("llama")
    delta = delta_of(lm)
    for wrong, said in (
        (lambda: delta.without(["9"]), "there is no edit '9'; there are: 0, 1"),
        (lambda: delta.without(["0", "1"]), "leaves out every edit"),
        (lambda: composed([delta, delta_of(tiny("llama", seed=1))]), "belong to different models"),
        (lambda: composed([delta, dataclasses.replace(delta, changes={"x": delta.changes[WEIGHT]})]), "are the same"),
        (lambda: delta.apply(lm, 9), "the longest of these edits has 3 windows; got 9"),
        (lambda: Whole(torch.ones(1, 2)).without([0]), "fine-tuned together, and none can be taken out"),
    ):
        with pytest.raises(AnysizeError, match=said):
            wrong()
    clash = delta_of(lm, (EditRequest(FIRST.prompt, "In Oslo.", id="7"),))
    with pytest.raises(DataError, match="edits 0 and 7 are in conflict"):
        composed([delta, clash])


def test_a_file_that_is_none_is_refused(tmp_path):
    file = tmp_path / "edits.safetensors"
    with pytest.raises(CheckpointError, match=r"there is no file .*; expected a file of edits"):
        Delta.load(file)
    for content in (b"", b"not edits at all", b"\x02\0\0\0\0\0\0\0{}"):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as edits"):
            Delta.load(file)
