"""Calibrated images and spectrum images for the tests of pairs."""

from __future__ import annotations

import hyperspy.api as hs

INSTRUMENT = {
    "TEM": {
        "beam_energy": 200.0,
        "convergence_angle": 29.0,
        "Detector": {"EELS": {"collection_angle": 36.0, "spectrometer": "GIF", "nested": {"a": [1, 2.5, None]}}},
    }
}


def calibrated(signal, scale=0.1, offset=(3.0, -2.0), units="nm"):
    for axis, name, start in zip(signal.axes_manager._axes[:2], ("y", "x"), offset, strict=True):
        axis.name, axis.units, axis.scale, axis.offset = name, units, scale, start
    return signal


def eels_of(counts, energy, lazy=False):
    signal = hs.signals.Signal1D(counts)
    axis = calibrated(signal).axes_manager[-1]
    axis.name, axis.units, axis.offset, axis.scale = "Energy loss", "eV", energy[0], energy[1] - energy[0]
    signal.set_signal_type("EELS")
    signal.metadata.General.title = "core loss"
    signal.metadata.add_dictionary({"Acquisition_instrument": INSTRUMENT})
    return signal.as_lazy() if lazy else signal


def image_of(data, **where):
    signal = calibrated(hs.signals.Signal2D(data), **where)
    signal.metadata.General.title = "HAADF"
    return signal
