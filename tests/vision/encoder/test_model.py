from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.testing import check_nested_model
from anysize.vision import ImageEncoder
from tests.kinds import models
from tests.tiny_vision import shapes, tiny_tower, write_folder


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def made():
    return models(None, None)["image-encoder"][0]()


def test_it_keeps_what_every_nested_model_promises(made):
    def plain(given):
        return torch.nn.functional.normalize(made.tower(made.tower.pixels(given)).pooled @ made.weight.T, dim=-1)

    check_nested_model(made, shapes(4), plain=plain, shape=lambda size: (4, size.dims))
    bare = ImageEncoder(Nesting(dims=(6, 24)), tiny_tower())
    check_nested_model(bare, shapes(4), shape=lambda size: (4, size.dims))


def test_vectors_and_patches_are_cut_first_and_of_unit_length(made):
    rows = shapes(5)
    with torch.no_grad():
        seen = made.tower(made.tower.pixels(rows))
    head, flat = made.weight.numpy(), made.flat.numpy()
    for size in (4, 24):
        np.testing.assert_allclose(
            made.at(dims=size).encode(rows, batch_size=2), unit(seen.pooled.numpy() @ head[:size].T), atol=1e-5
        )
        np.testing.assert_allclose(
            made.at(dims=size).patches(rows), unit(seen.patches.numpy() @ flat.T @ head[:size].T), atol=1e-5
        )


def test_wrong_sizes_and_pictures_are_told(made, tmp_path):
    with pytest.raises(SizeError, match="exceeds the tower, which gives vectors of 24"):
        ImageEncoder(Nesting(dims=(8, 32)), tiny_tower())
    with pytest.raises(SizeError, match="nested in dims; got layers"):
        ImageEncoder(Nesting(layers=(1, 2)), tiny_tower())
    with pytest.raises(AnysizeError, match="put it in a list"):
        made.encode("photo.jpg")
    with pytest.raises(DataError, match=r"nothing\.png is not there"):
        made.encode([tmp_path / "nothing.png"])
    with pytest.raises(DataError, match="no pictures"):
        made.tokens([])
    with pytest.raises(DataError, match="projects features of width 24; got 8"):
        made.project(np.zeros((2, 8), np.float32))


def test_pictures_of_every_kind_are_seen_alike(made, tmp_path):
    from PIL import Image

    one = Image.fromarray(shapes(1)[0])
    one.save(tmp_path / "a.png")
    turned = one.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    turned.save(tmp_path / "turned.png", exif=exif)
    one.convert("CMYK").save(tmp_path / "print.tif")
    one.save(tmp_path / "film.gif", save_all=True, append_images=[turned])
    wide = Image.fromarray(np.asarray(one.convert("L")).astype(np.uint16) * 257)
    wide.save(tmp_path / "deep.png")
    one.convert("L").save(tmp_path / "grey.png")
    names = ("a.png", "turned.png", "print.tif")
    first, *others = made.encode([tmp_path / name for name in names])
    for other, allowed in zip(others, (1e-5, 0.05), strict=True):
        np.testing.assert_allclose(other, first, atol=allowed)
    grey, deep, film = made.encode([tmp_path / name for name in ("grey.png", "deep.png", "film.gif")])
    np.testing.assert_allclose(deep, grey, atol=1e-5)
    assert np.isfinite(film).all()


def test_an_index_finds_a_picture_by_a_picture(photos, made, tmp_path, anysize):
    made.save(tmp_path / "seer")
    said = anysize("index", tmp_path / "seer", photos, "--size", "dims=8", "--out", tmp_path / "idx")
    assert said.status == 0, said
    found = anysize("search", tmp_path / "idx", photos / "red" / "003.png", "--json")
    hits = found.json["hits"]
    assert hits[0]["id"] == "red/003.png"
    assert hits[0]["score"] == pytest.approx(1, abs=1e-5)
    vectors = made.at(dims=8).encode(sorted(photos.glob("*/*.png")))
    asked = made.at(dims=8).encode([photos / "red" / "003.png"])[0]
    assert [hit["score"] for hit in hits] == pytest.approx(np.sort(vectors @ asked)[::-1][:10].tolist(), abs=1e-5)
    refused = anysize("search", tmp_path / "idx", "a red square")
    refused.refused("reads pictures")
    ran = anysize("run", tmp_path / "seer", photos / "red" / "003.png", "--size", "dims=4", "--json")
    np.testing.assert_allclose(ran.json["output"], made.at(dims=4).encode([photos / "red" / "003.png"])[0], atol=1e-5)
    az.load(tmp_path / "seer", "dims=4")


def test_an_index_leaves_broken_pictures_out_with_a_count_or_refuses_them(made, tmp_path, anysize):
    from anysize.search import Index

    photos = write_folder(tmp_path / "photos", 6, labelled=False)
    made.save(tmp_path / "seer")
    for name in ("001.png", "004.png"):
        (photos / name).write_bytes((photos / name).read_bytes()[:200])
    refused = anysize("index", tmp_path / "seer", photos, "--strict", "--out", tmp_path / "idx")
    refused.refused("001.png cannot be read", "004.png cannot be read")
    assert not (tmp_path / "idx").exists()
    said = anysize("index", tmp_path / "seer", photos, "--out", tmp_path / "idx")
    assert said.status == 0, said
    assert "note: 2 of 6 items are left out: " in said.err
    assert "004.png" in said.err
    index = Index.open(tmp_path / "idx")
    good = [photos / f"{place:03}.png" for place in (0, 2, 3, 5)]
    hits = index.search([{"image": str(good[2])}]).hits
    assert {hit.id for hit in hits} == {one.name for one in good}
    assert hits[0].id == "003.png"
    with pytest.raises(DataError, match=r"001\.png"):
        index.upsert(az.read(photos), strict=True)
    index.upsert(az.read(photos))
    assert len(index) == 4


def test_pictures_beside_each_other_are_several(made, tmp_path, anysize):
    photos = write_folder(tmp_path / "photos", 3, labelled=False)
    other = write_folder(tmp_path / "other", 1, labelled=False, seed=5)
    made.save(tmp_path / "seer")
    files = [photos / "000.png", photos / "002.png"]
    told = anysize("run", tmp_path / "seer", *files, "--size", "dims=8", "--json")
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert [one["id"] for one in rows] == ["000.png", "002.png"]
    for row, expected in zip(rows, made.at(dims=8).encode(files), strict=True):
        np.testing.assert_allclose(row["output"], expected, atol=1e-5)
    told = anysize("run", tmp_path / "seer", photos / "000.png", other / "000.png", "--json")
    assert [json.loads(line)["id"] for line in told.out.splitlines()] == [
        str(one / "000.png") for one in (photos, other)
    ]
    anysize("run", tmp_path / "seer", files[0], files[0]).refused("one of them twice")
    anysize("run", tmp_path / "seer", files[0], "what is this?").refused("reads images", "several parts")
