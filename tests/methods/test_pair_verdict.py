"""What the scores say in words."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.methods.pair_scores import SpectrumReport
from hs_deepatoms.methods.pair_verdict import judged

NOTES = dict.fromkeys(("pixels", "spikes", "nan", "empty", "masked", "components", "gain", "folds"), 1) | {
    "likelihood": "poisson", "normalisation": "area", "not_told": ""}  # fmt: skip


def verdict(edges, coverage=(0.68, 0.03), not_told="", peaks=(np.nan,) * 3, channel=0.2):
    rows = zip(("model", "mean", "knn"), (0.6, 0.0, 0.3), peaks, strict=True)
    table = {name: {"r2": r2, "r2_noise_removed": r2, "peak_error": peak} for name, r2, peak in rows}
    report = SpectrumReport(table, {}, 0.4, 0.1, "knn", *coverage, edges, np.zeros((2, 2)), channel)
    learned = type("Learned", (), {"notes": {**NOTES, "not_told": not_told}})()
    return judged(report, learned)


def test_edges_that_are_worse_than_the_mean_spectrum_are_named():
    edges = {"Cu_L3": {"model": 0.5, "mean": 0.0, "knn": 0.2}, "Zn_L3": {"model": -0.12, "mean": 0.0, "knn": 0.1},
             "O_K": {"model": 0.1, "mean": 0.0, "knn": 0.4}}  # fmt: skip
    found = verdict(edges)
    assert found["beats_baselines"] == 1
    assert "Zn_L3 (R2 -0.12) it is worse than the mean spectrum" in found["verdict"]
    assert "O_K (0.10 against 0.40 of knn) a baseline is better" in found["verdict"]
    assert "Cu_L3" not in found["verdict"] and "intervals" not in found["verdict"]


def test_intervals_that_do_not_hold_and_what_is_not_told():
    assert "hold 45 +- 3 %" in verdict({}, (0.45, 0.03))["verdict"]
    assert "do not hold" in verdict({}, (0.45, 0.03))["verdict"]
    assert "as blocks differ by chance" in verdict({}, (0.45, 0.2))["verdict"]
    assert "the total" in verdict({}, not_told="the total")["verdict"]
    assert "spread" not in verdict({})["verdict"]


def test_peaks_that_are_farther_off_than_those_of_a_baseline():
    assert "8.1 off on average, those of mean 1.4" in verdict({}, peaks=(8.1, 1.4, 3.0))["verdict"]
    for peaks in ((1.5, 1.4, 3.0), (8.1, np.nan, np.nan), (np.nan, 1.0, 1.0), (0.1, 0.0, 0.3)):
        assert "Peaks" not in verdict({}, peaks=peaks)["verdict"]
