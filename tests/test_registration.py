"""What importing the package attaches, what it costs, and what it refuses to touch."""

from __future__ import annotations

import copy
import importlib
import inspect
import re
import types
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pytest
import yaml

import hs_deepatoms
from hs_deepatoms import register
from hs_deepatoms.errors import RegistrationError
from tests.fresh import run_fresh

ROOT = Path(hs_deepatoms.__file__).parent
HEAVY = ("torch", "numba", "exspy", "sklearn", "skimage", "networkx", "ase", "matplotlib.pyplot")
DERIVED = {
    "itself": lambda s: s,
    "inav": lambda s: s.inav[1:],
    "one frame": lambda s: s.inav[0],
    "isig": lambda s: s.isig[2:, :6],
    "as_lazy": lambda s: s.as_lazy(),
    "compute": lambda s: _computed(s.as_lazy()),
    "deepcopy": lambda s: s.deepcopy(),
    "copy.deepcopy": copy.deepcopy,
    "set_signal_type": lambda s: _typed(s, "atomic_image"),
    "back again": lambda s: _typed(_typed(s, "atomic_image"), ""),
    "arithmetic": lambda s: s + 1,
    "mean": lambda s: s.mean(0),
}


@pytest.fixture
def stack():
    return hs.signals.Signal2D(np.arange(3 * 7 * 8, dtype=float).reshape(3, 7, 8))


def _computed(signal):
    signal.compute()
    return signal


def _typed(signal, signal_type):
    signal.set_signal_type(signal_type)
    return signal


@pytest.mark.parametrize("how", DERIVED)
@pytest.mark.parametrize("verb", [verb for verb, (_, owners) in register.METHODS.items() if "Signal2D" in owners])
def test_methods_survive(stack, how, verb):
    method = getattr(DERIVED[how](stack), verb)
    assert method.__func__ is getattr(hs_deepatoms, verb)
    assert method.__self__ is not None


def test_methods_show_the_real_signature(stack):
    parameters = inspect.signature(stack.find_atoms).parameters
    assert {"method", "threshold", "spacing", "refine", "region", "device"} <= set(parameters)
    assert "signal" not in parameters
    assert inspect.getdoc(stack.find_atoms) == inspect.getdoc(hs_deepatoms.find_atoms)
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())


def test_spectra_have_no_image_methods():
    assert not hasattr(hs.signals.Signal1D(np.zeros((3, 40))), "find_atoms")


def test_every_public_name_resolves():
    for name in hs_deepatoms.__all__:
        assert getattr(hs_deepatoms, name) is not None
        assert name in dir(hs_deepatoms)
    with pytest.raises(AttributeError, match="find_molecules"):
        _ = hs_deepatoms.find_molecules


def test_stub_file_names_the_same_functions():
    stub = (ROOT / "__init__.pyi").read_text()
    named = {name: module for module, name in re.findall(r"from (\S+) import (\w+) as \2", stub)}
    table = {**{verb: target for verb, (target, _) in register.METHODS.items()}, **register.FUNCTIONS}
    assert named.keys() == {*table, "register", "errors"}
    assert {name: f"{named[name]}:{name}" for name in table} == table


def test_attach_refuses_a_foreign_attribute_and_attaches_nothing():
    class Image:
        def find_atoms(self):
            return "theirs"

    table = {"segment": ("a.b:c", ("Image",)), "find_atoms": ("a.b:d", ("Image",))}
    with pytest.raises(RegistrationError, match=r"Image\.find_atoms.*Nothing was attached"):
        register.attach(table, {}, signals=types.SimpleNamespace(Image=Image))
    assert Image().find_atoms() == "theirs"
    assert not hasattr(Image, "segment")


def test_attach_twice_is_harmless(stack):
    register.attach()
    importlib.reload(register).attach()
    assert stack.find_atoms.__func__ is hs_deepatoms.find_atoms


@pytest.mark.parametrize("owner", ["hs.signals.Signal2D.segment", "xr.Dataset.deepatoms"])
def test_import_refuses_a_foreign_attribute(owner):
    printed = run_fresh(
        f"""
import inspect, hyperspy.api as hs, xarray as xr
{owner} = "theirs"
try:
    import hs_deepatoms
except Exception as error:
    print(type(error).__name__)
print({owner}, inspect.getattr_static(hs.signals.Signal2D, "find_atoms", None))
"""
    )
    assert printed.split() == ["RegistrationError", "theirs", "None"]


def test_import_is_cheap():
    code = """
import time, hyperspy.api, xarray
from hyperspy.signals import LazySignal2D, Signal1D, Signal2D
start = time.process_time()
import hs_deepatoms
print(time.process_time() - start)
"""
    # Processor time, and the least of several runs: a busy machine only ever adds to it.
    costs = (float(run_fresh(code)) for _ in range(5))
    assert any(cost < 0.1 for cost in costs)


@pytest.mark.parametrize("step", ["", "s.find_atoms; s.segment", "s.set_signal_type('atomic_image')", "dir(s)"])
def test_import_and_look_up_leave_the_heavy_ones_alone(step):
    printed = run_fresh(
        f"""
import sys, numpy as np, hs_deepatoms, hyperspy.api as hs
s = hs.signals.Signal2D(np.zeros((7, 8)))
{step}
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    )
    assert printed.strip() == "[]"


@pytest.mark.parametrize("lazy", [False, True])
def test_load_with_the_signal_type_brings_the_methods(tmp_path, stack, lazy):
    stack.save(tmp_path / "stack.hspy")
    printed = run_fresh(
        f"""
import sys, hyperspy.api as hs
plain = hs.load("stack.hspy", lazy={lazy})
assert "hs_deepatoms" not in sys.modules and not hasattr(plain, "find_atoms")
s = hs.load("stack.hspy", lazy={lazy}, signal_type="atomic_image")
print(type(s).__name__, s.find_atoms.__name__, hasattr(plain, "find_atoms"))
""",
        folder=tmp_path,
    )
    assert printed.split() == ["LazyAtomicImage" if lazy else "AtomicImage", "find_atoms", "True"]


def test_saved_signal_type_comes_back_by_itself(tmp_path, stack):
    stack.set_signal_type("atomic_image")
    stack.save(tmp_path / "typed.hspy")
    printed = run_fresh(
        "import hyperspy.api as hs; print(type(hs.load('typed.hspy')).__name__)",
        folder=tmp_path,
    )
    assert printed.split() == ["AtomicImage"]


def test_every_declared_class_has_a_lazy_twin():
    declared = yaml.safe_load((ROOT / "hyperspy_extension.yaml").read_text())["signals"]
    for name, entry in declared.items():
        made = getattr(importlib.import_module(entry["module"]), name)
        assert made._signal_type == entry["signal_type"]
        assert made._signal_dimension == entry["signal_dimension"]
        assert made._lazy is entry["lazy"]
    eager = {name for name, entry in declared.items() if not entry["lazy"]}
    assert {name for name, entry in declared.items() if entry["lazy"]} == {f"Lazy{name}" for name in eager}
