"""Pictures of every kind become upright RGB, and what is none is refused in words."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from anysize.backbones.vision.pictures import picture
from anysize.core.errors import DataError


def test_colours_for_print_and_transparency_and_deep_greys(tmp_path):
    Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    red = np.asarray(picture(tmp_path / "print.jpg"))
    assert red.shape == (3, 4, 3)
    assert red[0, 0, 0] > 200 > 60 > red[0, 0, 1]
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (np.asarray(picture(tmp_path / "clear.png")) == 255).all()
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(picture(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 255]
    Image.new("P", (2, 2)).save(tmp_path / "few.png")
    assert picture(tmp_path / "few.png").mode == "RGB"


def test_an_animation_shows_its_first_frame_and_a_photograph_stands_upright(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    assert picture(tmp_path / "moves.gif").getpixel((0, 0)) == (255, 0, 0)
    lying = Image.new("RGB", (6, 2), "white")
    exif = lying.getexif()
    exif[274] = 6  # a camera that was turned
    lying.save(tmp_path / "turned.jpg", exif=exif)
    assert picture(tmp_path / "turned.jpg").size == (2, 6)


def test_arrays_and_pillow_images(tmp_path):
    values = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert (np.asarray(picture(values)) == values).all()
    assert (np.asarray(picture(Image.fromarray(values))) == values).all()
    Image.fromarray(values).save(tmp_path / "small.png")
    assert (np.asarray(picture((tmp_path / "small.png").read_bytes())) == values).all()


def test_a_picture_is_read_from_what_a_file_holds(tmp_path):
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(tmp_path / "a.png")
    held = (tmp_path / "a.png").read_bytes()
    assert picture(held).tobytes() == picture(tmp_path / "a.png").tobytes()
    with pytest.raises(DataError, match="a picture is no picture that Pillow can read"):
        picture(held[8:])


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "words.png").write_text("no picture")
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    Image.new("RGB", (1, 500)).save(tmp_path / "long.png")
    for source, words in (
        (tmp_path / "words.png", "words.png is no picture that Pillow can read"),
        (tmp_path / "cut.png", "cut.png cannot be read"),
        (tmp_path / "gone.png", "gone.png is not there"),
        (tmp_path / "long.png", "1 x 500 pixels"),
        (np.zeros((2, 2)), "float64"),
        (7, "7 is no picture"),
    ):
        with pytest.raises(DataError, match=words):
            picture(source)


def test_threads_leave_the_warnings_of_the_process_as_they_were(tmp_path):
    Image.fromarray(np.full((30, 40, 3), 7, np.uint8)).save(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: np.asarray(picture(tmp_path / "a.png")), range(400)))
    assert all((one == 7).all() and one.shape == (30, 40, 3) for one in found)
    assert warnings.filters == before
