"""Files of channels: every format, the order of elements, and what is refused."""

import json
import sys

import h5py
import numpy as np
import pytest
from scipy.io import savemat

import anysize as az
from anysize.beams.channels import drawing
from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.channels.drawing import Drawn
from anysize.beams.channels.panel import Panel
from anysize.core.errors import AnysizeError, DataError
from tests.beams.conftest import FILE

PANEL = Panel(2, 3)


@pytest.fixture(scope="module")
def values():
    random = np.random.default_rng(0)
    return (random.standard_normal((5, 2, 1, 6)) + 1j * random.standard_normal((5, 2, 1, 6))).astype(np.complex64)


DROPS = np.array([0, 0, 1, 1, 2])


def npz(path, values):
    np.savez(path, channels=values, panel=[2, 3], drops=DROPS)


def npy(path, values):
    np.save(path, values)
    path.with_suffix(".json").write_text(json.dumps({"panel": {"rows": 2, "columns": 3}, "drops": DROPS.tolist()}))


def hdf5(path, values):
    with h5py.File(path, "w") as file:
        file["H"], file["drops"] = values, DROPS
        file.attrs["panel"] = [2, 3]
        file["beside"] = np.ones((2, 2))
        file.create_group("more")


def mat(path, values):
    savemat(path, {"H": values, "panel": [2, 3], "drops": DROPS})


def mat73(path, values):
    """As MATLAB writes it: dimensions turned round, a user block in front, complex numbers as pairs."""
    with h5py.File(path, "w", userblock_size=512) as file:
        pair = np.zeros(values.T.shape, [("real", "f4"), ("imag", "f4")])
        pair["real"], pair["imag"] = values.T.real, values.T.imag
        file["H"], file["panel"], file["drops"] = pair, np.array([[2.0], [3.0]]), DROPS[:, None].astype(float)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")


WRITERS = {"a.npz": npz, "a.npy": npy, "a.h5": hdf5, "a.hdf5": hdf5, "a.mat": mat, "73.mat": mat73}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_holds_the_same_channels(name, values, tmp_path):
    WRITERS[name](tmp_path / name, values)
    data = az.read(tmp_path / name)
    found = channels_of(data)
    assert (found.values == values).all()
    assert found.panel == PANEL
    assert found.drops.tolist() == DROPS.tolist()
    assert data.fingerprint == Channels.checked(values, PANEL, DROPS).data().fingerprint
    assert data.holds == "5 channels"


def test_vectors_are_vectors_still(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    np.savez(tmp_path / "v.npz", vectors=vectors, more=np.zeros(3))
    np.save(tmp_path / "v.npy", vectors)
    for name in ("v.npz", "v.npy"):
        assert (az.read(tmp_path / name).corpus.vectors == vectors).all()


def test_rows_are_put_into_columns_and_two_polarizations_are_two_receivers(values, tmp_path):
    turned = values.reshape(5, 2, 1, 3, 2).transpose(0, 1, 2, 4, 3).reshape(5, 2, 1, 6)
    found = Channels.checked(turned, Panel(2, 3, order="rows"))
    assert (found.values == values).all()
    assert found.panel == PANEL
    both = Channels.checked(np.concatenate([values, 2j * values], axis=3), Panel(2, 3, polarizations=2))
    assert both.values.shape == (5, 2, 2, 6)
    assert (both.values[:, :, 0] == values[:, :, 0]).all()
    assert (both.values[:, :, 1] == 2j * values[:, :, 0]).all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda v: v.real, "holds float32, which has no phase"),
        (lambda v: v[0], r"shape \(2, 1, 6\)"),
        (lambda v: v[:0], "shape"),
        (
            lambda v: v.transpose(0, 1, 3, 2),
            "1 transmit ports, and the panel of 2 x 3 has 6; the panel fits the dimension rx",
        ),
        (lambda v: v[..., :5], "5 transmit ports, and the panel of 2 x 3 has 6"),
        (lambda v: np.where(np.arange(5)[:, None, None, None] == 3, np.nan, v), r"link 3 \(from 0\) holds NaN"),
        (lambda v: np.where(np.arange(5)[:, None, None, None] == 2, 0, v), r"link 2 \(from 0\) is zero"),
    ],
    ids=["real", "flat", "empty", "turned", "short", "nan", "zero"],
)
def test_what_is_no_channel_is_refused_in_a_sentence(wrong, words, values, tmp_path):
    np.savez(tmp_path / "a.npz", channels=wrong(values), panel=[2, 3])
    with pytest.raises(DataError, match=words):
        az.read(tmp_path / "a.npz")


def test_a_file_must_say_its_panel_and_whole_drops(values, tmp_path):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=r'write .*a\.json with \{"panel": \{"rows": 8, "columns": 8\}\}'):
        az.read(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", channels=values, panel=[2, 2.5])
    with pytest.raises(DataError, match=r"expected \[rows, columns\]"):
        az.read(tmp_path / "b.npz")
    for drops, words in (([0, 1], "a whole number for each of 5 links"), ([0, 0.5, 1, 1, 1], "expected whole numbers")):
        np.savez(tmp_path / "c.npz", channels=values, panel=[2, 3], drops=drops)
        with pytest.raises(DataError, match=words):
            az.read(tmp_path / "c.npz")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(DataError, match="holds no object"):
        az.read(tmp_path / "a.npy")


def test_a_file_that_unpacks_to_more_than_it_may_is_refused(tmp_path):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("channels", (1 << 20, 1, 1, 64), "c8", chunks=(1 << 10, 1, 1, 64), compression="gzip")
        file.attrs["panel"] = [8, 8]
    assert (tmp_path / "bomb.h5").stat().st_size < 1 << 16
    with pytest.raises(DataError, match="unpacks to more than 64 MiB"):
        az.read(tmp_path / "bomb.h5")
    np.savez_compressed(tmp_path / "bomb.npz", channels=np.zeros((1 << 17, 1, 1, 64), np.complex64), panel=[8, 8])
    with pytest.raises(DataError, match="unpacks to more than 64 MiB"):
        az.read(tmp_path / "bomb.npz")


def test_objects_and_links_to_other_files_are_not_read(values, tmp_path):
    savemat(tmp_path / "cell.mat", {"H": np.array([[1, "a"], ["b", 2]], object), "panel": [2, 3]})
    with pytest.raises(DataError, match="H holds objects and not numbers"):
        az.read(tmp_path / "cell.mat")
    np.savez(tmp_path / "objects.npz", channels=np.array([{"a": 1}], object), panel=[2, 3])
    with pytest.raises(DataError, match="channels holds objects and not numbers"):
        az.read(tmp_path / "objects.npz")
    np.save(tmp_path / "objects.npy", np.array([[{"a": 1}]], object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        az.read(tmp_path / "objects.npy")
    hdf5(tmp_path / "other.h5", values)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["channels"] = h5py.ExternalLink("other.h5", "H")
        file.attrs["panel"] = [2, 3]
    with pytest.raises(DataError, match="holds panel; expected complex channels"):
        az.read(tmp_path / "link.h5")
    layout = h5py.VirtualLayout(values.shape, "c8")
    layout[...] = h5py.VirtualSource(str(tmp_path / "other.h5"), "H", values.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("channels", layout)
    with pytest.raises(DataError, match="channels lies in other files"):
        az.read(tmp_path / "virtual.h5")


@pytest.mark.parametrize("name", ["a.h5", "a.mat", "a.npz"])
def test_a_cut_file_is_refused(name, values, tmp_path):
    WRITERS[name](tmp_path / name, values)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot be read|does not say what panel"):
        az.read(tmp_path / name)


def test_lines_of_sight_tell_an_order_that_is_not_the_panels(channels, tmp_path):
    with np.load(FILE) as held:
        arrays = {name: held[name] for name in held.files}
    raw = arrays["channels"].reshape(320, 2, 1, 8, 8)
    turns = {
        "rows 3": raw.transpose(0, 1, 2, 4, 3),
        "from the bottom": raw[..., ::-1],
        "from the right": raw[..., ::-1, :],
        "conjugate": raw.conj(),
    }
    for said, turned in turns.items():
        np.savez(tmp_path / "turned.npz", **{**arrays, "channels": turned.reshape(320, 2, 1, 64)})
        with pytest.raises(DataError, match=f"they fit .*{said.split()[-1] if said != 'rows 3' else 'rows'}"):
            az.read(tmp_path / "turned.npz")
    np.savez(tmp_path / "turned.npz", **{**arrays, "channels": turns["rows 3"].reshape(320, 2, 1, 64)})
    (tmp_path / "turned.json").write_text('{"panel": {"rows": 8, "columns": 8, "order": "rows"}}')
    np.savez(
        tmp_path / "turned.npz",
        **{name: array for name, array in arrays.items() if name not in ("channels", "panel")},
        channels=turns["rows 3"].reshape(320, 2, 1, 64),
    )
    assert (channels_of(az.read(tmp_path / "turned.npz")).values == channels.values).all()
    np.savez(tmp_path / "short.npz", **{**arrays, "azimuth": arrays["azimuth"][:5]})
    with pytest.raises(DataError, match="one a link"):
        az.read(tmp_path / "short.npz")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("uma:0", "links is 0"),
        ("uma:20:drop", "cannot read 'drop' of uma:20:drop"),
        ("uma:20:colour=3", "expected like seed=1, of seed, drop"),
        ("umi:20:rx=3", "1 or 2 receive antennas"),
        ("uma:2x", "like uma:2000"),
    ],
)
def test_a_draw_that_cannot_be_made(name, words):
    with pytest.raises(DataError, match=words):
        az.read(name)


def test_without_sionna_the_command_that_installs_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("ANYSIZE_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sionna.phy", None)
    monkeypatch.setitem(sys.modules, "sionna", None)
    with pytest.raises(AnysizeError, match=r'install it with: pip install "anysize\[beams\]"'):
        az.read("uma:20")
    assert not list(tmp_path.rglob("*.npz"))


def test_sionna_draws_links_that_are_kept_and_steered_as_the_panel_says(tmp_path, monkeypatch):
    pytest.importorskip("sionna.phy")
    monkeypatch.setenv("ANYSIZE_CACHE", str(tmp_path))
    data = az.read("umi:24:drop=12,rows=4,columns=8,subcarriers=2,seed=5,spatial=1,blockage=1")
    found = channels_of(data)
    assert found.values.shape == (24, 2, 2, 32)
    assert np.bincount(found.drops).tolist() == [12, 12]
    (file,) = tmp_path.rglob("*.npz")
    with np.load(file) as held:
        azimuth, zenith = held["azimuth"], held["zenith"]
    beams = found.panel.steering(azimuth, zenith)
    power = (np.abs(found.values) ** 2).sum((1, 2, 3))
    seen = (np.abs(np.einsum("lsrt,lt->lsr", found.values, beams)) ** 2).sum((1, 2)) / power
    assert seen.max() > 0.7  # a line of sight has most of its power in one beam
    assert np.abs(azimuth).max() < 62
    said = json.loads(file.with_suffix(".json").read_text())
    assert (said["seed"], said["spatial"], said["panel"]) == (5, 1, {"rows": 4, "columns": 8})
    assert said["made_by"].startswith("sionna-no-rt ")
    monkeypatch.setattr(drawing, "draw", None)  # what was kept is not drawn again
    assert (
        az.read("umi:24:drop=12,rows=4,columns=8,subcarriers=2,seed=5,spatial=1,blockage=1").fingerprint
        == data.fingerprint
    )


def test_a_seed_draws_the_same_links():
    pytest.importorskip("sionna.phy")
    one, other = (drawing.draw(Drawn("uma", 8, drop=8, seed=2, rows=2, columns=2))[0] for _ in range(2))
    assert (one.values == other.values).all()


def test_users_who_move_keep_their_line_of_sight_and_go_straight_on():
    pytest.importorskip("sionna.phy")
    settings = Drawn("uma", 6, drop=6, seed=2, rows=2, columns=4, rx=1, subcarriers=1, steps=3, every=2.0, walk=20.0)
    found, azimuth, _ = drawing.draw(settings)
    assert (len(found), found.steps.tolist()) == (18, [0] * 6 + [1] * 6 + [2] * 6)
    assert [len(one) for one in found.moments()] == [6, 6, 6]
    turned = np.abs(np.diff(azimuth.reshape(3, 6), axis=0))
    assert (turned.max(0) > 0).all()  # 40 m a step
    assert "steps" in settings.told()
    assert "steps" not in Drawn("uma", 6).told()  # so that what was kept before is found


def test_steps_of_a_file_are_read(values, tmp_path):
    panel, steps = np.array([2, 3]), np.arange(len(values)) % 2
    np.savez(tmp_path / "a.npz", channels=values, panel=panel, steps=steps)
    assert channels_of(az.read(tmp_path / "a.npz")).steps.tolist() == steps.tolist()
    np.savez(tmp_path / "a.npz", channels=values, panel=panel, steps=steps[:-1])
    with pytest.raises(DataError, match=r"steps are .* expected a whole number for each of"):
        az.read(tmp_path / "a.npz")
