"""The public names: one typed table a package, each name there, explained, and imported when first asked for."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import anysize
from anysize.core.lazy import attach

HOME = Path(anysize.__file__).parent
PACKAGES = sorted("anysize" + (f".{stub.parent.name}" if stub.parent != HOME else "") for stub in HOME.rglob("*.pyi"))


def test_the_package_and_every_family_have_a_table():
    families = {path.parent.name for path in HOME.glob("*/__init__.py")} - {
        "core",
        "backbones",
        "evaluation",
        "serve",
        "cli",
    }
    assert set(PACKAGES) == {"anysize", *(f"anysize.{family}" for family in families)}
    assert families < set(anysize.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_explained(package):
    module = importlib.import_module(package)
    assert dir(module) == sorted(module.__all__)
    for name in module.__all__:
        found = getattr(module, name)
        if not isinstance(found, str):
            assert (found.__doc__ or "").strip(), f"{package}.{name} has no docstring"
        if isinstance(found, type):  # a dataclass without a docstring is given its signature as one
            assert not found.__doc__.startswith(f"{name}("), f"{package}.{name} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_table_says_to_type_checkers_what_it_says_at_run_time(package):
    stub = Path(str(importlib.import_module(package).__file__)).with_suffix(".pyi")
    lines = stub.read_text("utf-8").splitlines()
    assert lines == sorted(lines)
    for line in lines:  # `as` the same name: public, as type checkers have it
        assert re.fullmatch(r"from (anysize[\w.]*) import (\w+) as \2", line), line


def test_a_name_that_is_not_public_is_refused_as_python_does():
    for package in PACKAGES:
        with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
            importlib.import_module(package).nothing  # noqa: B018


def test_a_package_elsewhere_has_its_table(tmp_path):
    (tmp_path / "__init__.pyi").write_text("from math import tau as tau\nfrom json import dumps as dumps\n")
    found, listed, names = attach("elsewhere", str(tmp_path / "__init__.py"))
    assert (found("tau"), listed(), names) == (6.283185307179586, ["dumps", "tau"], ["tau", "dumps"])


def test_options_are_read_without_what_the_work_needs():
    modules = [*PACKAGES, "anysize.sparse.methods.options", "anysize.text.embedder.method", "anysize.classify.method"]
    script = (
        f"import sys, {', '.join(modules)}; sys.exit(len({{'torch', 'numpy', 'scipy', 'faiss'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_types_come_with_the_package():
    assert (HOME / "py.typed").is_file()
