"""Wheel and sdist carry what HyperSpy needs; a broken install of ours must not break HyperSpy."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import hs_deepatoms
from tests.fresh import run_fresh

ROOT = Path(__file__).parents[1]
INNER = "hs_deepatoms/hyperspy_extension.yaml"

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs a checkout to build from")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with one wheel and one sdist. The wheel is built from the sdist, so both paths are taken."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture
def site(built, tmp_path):
    """The wheel unpacked as an installer would, in a folder to put first on ``sys.path``."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    return tmp_path / "site"


def test_wheel_holds_the_extension_file_and_the_models(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        declared = yaml.safe_load(wheel.read(INNER))["signals"]
    assert {"AtomicImage", "LazyAtomicImage", "AtomPatches", "LazyAtomPatches"} <= declared.keys()
    assert "hs_deepatoms/__init__.pyi" in names
    models = {str(file.relative_to(ROOT)) for file in (ROOT / "hs_deepatoms/models").rglob("*.*")}
    assert any(name.endswith(".safetensors") for name in models)
    assert models <= names
    assert {name.split("/")[0] for name in names} == {
        "hs_deepatoms",
        f"hs_deepatoms-{hs_deepatoms.__version__}.dist-info",
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_sdist_holds_the_extension_file_the_link_and_the_tests(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        members = {member.name.split("/", 1)[1]: member for member in sdist.getmembers() if "/" in member.name}
    assert members[INNER].isfile()
    assert members["hspy_extension.yaml"].issym()
    assert members["hspy_extension.yaml"].linkname == INNER
    assert {"LICENSE", "README.md", "CITATION.cff", "CHANGELOG.md", "tests/test_packaging.py"} <= members.keys()


def test_link_at_the_top_points_to_the_extension_file():
    assert (ROOT / "hspy_extension.yaml").is_symlink()
    assert (ROOT / "hspy_extension.yaml").resolve() == (ROOT / INNER).resolve()


def test_wheel_registers_and_every_declared_class_imports(site):
    printed = run_fresh(
        f"""
import importlib, sys, yaml
from importlib.metadata import entry_points, version
import hyperspy.api as hs
[entry] = {{(e.name, e.value) for e in entry_points(group="hyperspy.extensions") if "atoms" in e.name}}
assert entry == ("hs_deepatoms", "hs_deepatoms"), entry
from hyperspy.extensions import ALL_EXTENSIONS
names = yaml.safe_load(open({str(site / INNER)!r}))["signals"]
for name, declared in names.items():
    assert ALL_EXTENSIONS["signals"][name] == declared
    module = importlib.import_module(declared["module"])
    assert module.__file__.startswith({str(site)!r}), module.__file__
    assert isinstance(getattr(module, name), type)
import hs_deepatoms
assert hs_deepatoms.__version__ == version("hs_deepatoms")
print(len(names))
""",
        path=site,
    )
    assert int(printed) >= 4


@pytest.mark.parametrize("fault", ["raise ImportError('broken')", "import no_such_module", "1/0", "def ("])
def test_hyperspy_starts_when_our_import_fails(site, fault):
    (site / "hs_deepatoms/__init__.py").write_text(fault + "\n")
    printed = run_fresh(
        """
import numpy as np, hyperspy.api as hs
s = hs.signals.Signal2D(np.ones((3, 7, 8)))
s.save("plain.hspy")
print(hs.load("plain.hspy"), s.inav[0].mean().data, hs.signals.Signal1D)
try:
    import hs_deepatoms
except (Exception, SyntaxError):
    print("broken")
""",
        path=site,
        folder=site,
    )
    assert printed.strip().endswith("broken")
    assert "(3|8, 7)" in printed


def test_version_is_written_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project and project["dynamic"] == ["version"]
    assert hs_deepatoms.__version__ not in (ROOT / "CITATION.cff").read_text()


def test_dependencies_have_lower_bounds_and_no_forbidden_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {"all", "tests", "doc", "dev"} <= extras.keys()
    required = [*project["dependencies"], *(line for extra in extras.values() for line in extra)]
    for line in required:
        assert ">=" in line or line.startswith("hs_deepatoms["), line
        assert not line.startswith(("torchvision", "opencv", "lightning"))
