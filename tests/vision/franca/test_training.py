from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.errors import AnysizeError, DataError, DivergedError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.vision import Franca
from anysize.vision.franca.crops import blurred, crops, draws
from anysize.vision.franca.fit import clusters
from anysize.vision.franca.training import FrancaTraining, Student
from tests.processes import die, killed, together
from tests.tiny_vision import tiny_tower, write_folder

SMALL = {"dims": (6, 24), "hidden": 16, "bottleneck": 8, "local_crops": 2, "batch_size": 8, "koleo": 0.1}


def test_what_is_drawn_for_a_picture_depends_on_it_alone():
    every = draws(torch.arange(6), 3, 7, 11)
    assert torch.equal(draws(torch.tensor([4, 1]), 3, 7, 11), every[:, [4, 1]])
    assert not torch.equal(draws(torch.tensor([4]), 3, 7, 12), every[:, [4]])


def test_a_crop_of_everything_is_the_picture():
    squares = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    drawn = torch.full((2, 15), 0.5)
    drawn[1, 4] = 0.0  # mirrored
    found = crops(squares, drawn, 8, (1.0, 1.0), 0.0)
    torch.testing.assert_close(found[0], squares[0].float() / 255)
    torch.testing.assert_close(found[1], squares[1].flip(2).float() / 255)
    part = crops(squares, drawn, 4, (0.25, 0.25), 0.0)  # the middle, at its own scale
    torch.testing.assert_close(part[0], squares[0, :, 2:6, 2:6].float() / 255)
    changed = crops(squares, torch.rand(2, 15), 8, (0.5, 1.0), 1.0, (0.5, 0.5))
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1


def test_each_picture_is_blurred_as_much_as_it_was_drawn():
    scipy = pytest.importorskip("scipy.ndimage")
    pictures, sigmas = torch.rand(3, 3, 20, 24), torch.tensor([0.3, 0.9, 1.8])
    found = blurred(pictures, sigmas, 4)
    for one, sigma, said in zip(pictures, sigmas.tolist(), found, strict=True):
        wanted = scipy.gaussian_filter(one.numpy(), (0, sigma, sigma), radius=(0, 4, 4), mode="mirror")
        np.testing.assert_allclose(said.numpy(), wanted, atol=1e-5)
    alone = blurred(pictures[:1], sigmas[:1], 4)
    torch.testing.assert_close(alone[0], found[0])  # the others of the batch decide nothing


def test_views_are_solarised_and_hues_turned_in_their_shares():
    squares = torch.full((1, 3, 8, 8), 204, dtype=torch.uint8)  # 0.8
    drawn = torch.full((1, 15), 0.5)  # nothing is changed in the middle of its range
    drawn[0, 12:] = torch.tensor([0.9, 0.5, 0.1])
    kept = crops(squares, drawn, 8, (1.0, 1.0), 1.0, (0.5, 0.0))
    torch.testing.assert_close(kept, squares / 255)
    torch.testing.assert_close(crops(squares, drawn, 8, (1.0, 1.0), 1.0, (0.5, 0.2)), 1 - squares / 255)
    squares = torch.tensor([150, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    drawn[0, 9] = 1.0  # by a tenth of a turn
    turned = crops(squares, drawn, 8, (1.0, 1.0), 1.0)[0, :, 0, 0]
    assert float(turned.mean()) == pytest.approx(100 / 255, abs=1e-5)  # grey stays
    apart = torch.tensor([150.0, 100, 50]) / 255 - 100 / 255
    cosine = float(apart @ (turned - turned.mean()) / apart.square().sum())
    assert cosine == pytest.approx(math.cos(0.2 * math.pi), abs=1e-4)


@torch.no_grad()
def test_what_stands_under_a_hidden_patch_decides_nothing():
    method = Franca(model="x", **SMALL)
    student = Student(tiny_tower(), method, Nesting(dims=(6, 24)), 32).eval()
    student.hidden.normal_()
    pixels, masks = torch.randn(2, 3, 16, 16), torch.zeros(2, 16, dtype=torch.bool)
    masks[0, [1, 6]] = True
    changed = pixels.clone()
    changed[0, :, 0:4, 4:8] += 1  # row 0, column 1
    changed[0, :, 4:8, 8:12] -= 1  # row 1, column 2
    torch.testing.assert_close(student(pixels, masks).patches, student(changed, masks).patches)
    assert not torch.allclose(student(pixels, masks).pooled[0], student(pixels).pooled[0])
    torch.testing.assert_close(student(pixels, masks).pooled[1], student(pixels).pooled[1])
    shown = pixels.clone()
    for top, left in ((0, 4), (4, 8)):
        shown[0, :, top : top + 4, left : left + 4] = student.hidden
    torch.testing.assert_close(student(pixels, masks).patches, student(shown).patches)


def knn(model, data):
    return {
        one.size["dims"]: one.metrics["accuracy"] for one in az.measure(model, data, by="knn", arms=(), k=5).records
    }


def test_training_is_resumed_to_the_same_model(tmp_path, photos, tower_path):
    method = Franca(model=tower_path, epochs=3, queue=16, **SMALL)
    whole = az.fit(photos, method=method)
    assert whole.about["prototypes"] == [8, 32]
    assert len(whole.about["losses"]) > 3

    def stopped():
        own = FrancaTraining.after_step

        def after(self, step):
            own(self, step)
            if step == 14:
                die()

        FrancaTraining.after_step = after
        az.fit(photos, method=method, out=tmp_path / "seer")

    killed(stopped)
    again = az.fit(photos, method=method, out=tmp_path / "seer", resume=True)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, atol=1e-5, rtol=1e-4)
    assert set(knn(again, photos)) == {6, 24}


def test_the_teacher_is_what_is_kept(photos, tower_path):
    frozen = az.fit(photos, method=Franca(model=tower_path, epochs=1, momentum=1.0, **SMALL))
    for name, weight in tiny_tower().state_dict().items():
        torch.testing.assert_close(frozen.tower.state_dict()[name], weight)


def shared(folder, tower_path, out):
    from anysize.core.training.processes import joined

    with joined():
        made = az.fit(
            folder, method=Franca(model=tower_path, epochs=2, momentum=0.5, **{**SMALL, "batch_size": 4}), out=out
        )
    if made is not None:
        torch.save(made.state_dict(), f"{out}.pt")


def test_two_processes_train_as_one_does(tmp_path, tower_path):
    folder = write_folder(tmp_path / "photos", 16)
    alone = az.fit(folder, method=Franca(model=tower_path, epochs=2, momentum=0.5, **SMALL)).state_dict()
    together(2, lambda: shared(folder, tower_path, tmp_path / "seer"))
    found = az.load(tmp_path / "seer").state_dict()
    start = {f"tower.{name}": one for name, one in tiny_tower().state_dict().items()}
    moved = max(float((alone[name] - start[name]).abs().max()) for name in start)
    apart = max(float((alone[name] - found[name]).abs().max()) for name in start)
    assert moved > 1e-4
    assert apart < 0.02 * moved


def test_a_convolutional_network_has_no_tokens_and_learns_all_the_same(tmp_path):
    from tests.backbones.vision.test_towers import library

    library("timm")
    photos = write_folder(tmp_path / "photos", 6)
    made = az.fit(photos, method=Franca(model="timm:test_resnet:", from_scratch=True, pixels=40, epochs=1,
                                        **{**SMALL, "dims": (8, 32), "local_crops": 1, "batch_size": 2}))  # fmt: skip
    assert made.tower.spec["name"] == "test_resnet"
    assert made.encode(sorted(photos.glob("*/*.png"))[:2]).shape == (2, 32)


def test_wrong_options_and_losses_are_told(photos, tower_path, tmp_path, anysize, monkeypatch):
    with pytest.raises(AnysizeError, match="mask-ratio is two shares"):
        Franca(mask_ratio=(0.6, 0.2))
    with pytest.raises(AnysizeError, match="queue is at least 0"):
        Franca(queue=-1)
    with pytest.raises(SizeError, match="dims=48 exceeds the model"):
        az.fit(photos, method=Franca(model=tower_path, dims=(6, 48)))
    nesting = Nesting(dims=(6, 24))
    assert clusters(Franca(queue=10), nesting, 8) == (26, "")
    count, said = clusters(Franca(prototypes=64), nesting, 8)
    assert count == 64
    assert said.startswith("64 prototypes are more than the 16 vectors of a batch and its queue")
    with pytest.raises(SizeError, match="give at least 8"):
        clusters(Franca(prototypes=7), nesting, 8)
    one = write_folder(tmp_path / "one", 1)
    with pytest.raises(DataError, match="1 picture that can be read"):
        az.fit(one, method=Franca(model=tower_path))
    monkeypatch.setattr(FrancaTraining, "_masks", lambda self, n, step: None)  # whatever makes a loss NaN

    def broken(self, squares, rows):
        loss = sum(weight.sum() for weight in self.student.parameters()) * 0
        return {"loss": loss + (float("nan") if int(self.step) else 1.0) * self.add()}

    def add(self):
        self.step += 1
        return 1.0

    monkeypatch.setattr(FrancaTraining, "forward", broken)
    monkeypatch.setattr(FrancaTraining, "add", add, raising=False)
    with pytest.raises(DivergedError, match="the loss is nan at step 2"):
        az.fit(photos, method=Franca(model=tower_path, epochs=1, **SMALL))


def test_a_network_that_overflows_gives_a_loss_that_stops_training_and_keeps_its_checkpoint():
    method = Franca(model="x", **SMALL)
    module = FrancaTraining(tiny_tower(), method, Nesting(dims=(6, 24)), 32, 10)
    squares, rows = torch.randint(0, 256, (4, 3, 20, 20), dtype=torch.uint8), torch.arange(4)
    assert torch.isfinite(module(squares, rows)["loss"])
    with torch.no_grad():
        for weight in module.student.tower.parameters():
            weight.mul_(1e30)
    assert torch.isnan(module(squares, rows)["loss"])


def test_the_face_trains_as_it_is_typed(photos, tmp_path, tower_path, anysize):
    out = tmp_path / "seer"
    said = anysize("fit", photos, "--method", "franca", "--model", tower_path, "--from-scratch", "--dims", "6,24",
                   "--epochs", "1", "--batch-size", "16", "--hidden", "16", "--local-crops", "1",
                   "--local-scale", "0.1,0.3", "--out", out, "--json")  # fmt: skip
    assert said.status == 0, said
    assert json.loads(said.out)["about"]["method"] == "franca"
    assert np.isfinite(az.load(out).encode(sorted(photos.glob("*/*.png"))[:3])).all()
