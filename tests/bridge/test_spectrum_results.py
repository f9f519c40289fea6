import hyperspy.api as hs
import numpy as np

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.source import read_source
from hs_deepatoms.bridge.spectrum_results import signal_like, template_of


def test_a_signal_like_another_on_other_axes():
    source = hs.signals.Signal1D(np.zeros((4, 5, 7)))
    axis = source.axes_manager[-1]
    axis.name, axis.units, axis.scale, axis.offset = "Energy loss", "eV", 0.5, 300.0
    source.set_signal_type("EELS")
    source.metadata.add_dictionary({"Acquisition_instrument": {"TEM": {"beam_energy": 80.0}}})
    source.metadata.Signal.quantity = "Intensity (Counts)"
    source.original_metadata.add_dictionary({"vendor": {"gain": 3}})
    template = template_of(read_source(source, n_signal=1))
    axes = [Axis("y", 2, "nm", 0.2, 1.0, navigate=True), Axis("x", 3, "nm", 0.2, 0.0, navigate=True)]
    data = np.arange(42.0).reshape(2, 3, 7)
    made = signal_like(template, data, axes, title="made", provenance=[{"operation": "a"}], variance=data + 1)
    assert type(made).__name__ == "EELSSpectrum" and made.metadata.deepatoms.predicted is True
    assert made.axes_manager[-1].get_axis_dictionary() == axis.get_axis_dictionary()
    assert made.axes_manager["y"].offset == 1.0 and made.metadata.Signal.quantity == "Intensity (Counts)"
    assert made.metadata.Acquisition_instrument.TEM.beam_energy == 80.0 and made.original_metadata.vendor.gain == 3
    np.testing.assert_array_equal(made.get_noise_variance().data, data + 1)
    assert not source.metadata.has_item("deepatoms")
