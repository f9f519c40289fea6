"""What the scores of ``im2spec`` and ``spec2im`` say, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from hs_deepatoms.methods.pair_scores import OWN, ImageReport, SpectrumReport
from hs_deepatoms.methods.pair_training import Learned

ONE_SIGMA, OFF = 0.683, 0.1  # share inside an interval of one sigma; from which difference on it is said
LEAST = 0.01  # of the error of the best baseline: what removes less is no better
FARTHER = 1.5  # times as far off as another's peaks: that is said
NOTES = ("pixels", "spikes", "nan", "empty", "masked", "components", "gain", "likelihood", "normalisation", "folds",
         "not_told")  # fmt: skip


def judged(report: SpectrumReport | ImageReport, learned: Learned) -> dict[str, Any]:
    """Attributes of ``/metrics``: whether baselines are beaten, the verdict, and what was decided about the data."""
    won = report.gain > max(LEAST, report.gain_std)
    return {"beats_baselines": int(won), "best_baseline": report.best,
            "verdict": _verdict(report, won, learned.notes["not_told"]),
            **{f"data_{name}": learned.notes[name] for name in NOTES}}  # fmt: skip


def _verdict(report: SpectrumReport | ImageReport, won: bool, silent: str) -> str:
    first, second = report.table[OWN], report.table[report.best]
    name, said = "r2_noise_removed", "R2 (noise taken out)"
    if not np.isfinite([first.get(name, np.nan), second.get(name, np.nan)]).all():
        name, said = "r2", "R2"
    change = f"{said} {first[name]:.3f} against {second[name]:.3f} of {report.best} on held-out blocks"
    share = f"{100 * report.gain:.0f} +- {100 * report.gain_std:.0f} % of its error"
    rest = _of_peaks(report.table, getattr(report, "channel", 0.0)) + _of_edges(getattr(report, "edges", {}))
    rest += _of_what_is_not_told(silent) + _of_intervals(report)
    if won:
        return f"The model beats every baseline: {change}; it removes {share}.{rest}"
    return f"The model does not beat its baselines: {change}; it removes {share}. Use the baseline, or more data.{rest}"


def _of_peaks(table: dict[str, dict[str, float]], channel: float) -> str:
    """Whether peaks are farther off than those of a baseline, by more than a channel."""
    errors = {name: row["peak_error"] for name, row in table.items() if np.isfinite(row.get("peak_error", np.nan))}
    if OWN not in errors or len(errors) < 2:
        return ""
    best = min((name for name in errors if name != OWN), key=errors.__getitem__)
    if errors[OWN] <= max(FARTHER * errors[best], errors[best] + channel):
        return ""
    off = f"{errors[OWN]:.3g} off on average, those of {best} {errors[best]:.3g}"
    return f" Peaks of its spectra are {off} (in the units of the energy): no use for where a peak is."


def _of_edges(edges: dict[str, dict[str, float]]) -> str:
    """Edges whose net counts the mean spectrum, or another baseline, says better."""
    worse, behind = [], []
    for edge, values in edges.items():
        best = max(values, key=lambda name: np.nan_to_num(values[name], nan=-np.inf))
        if values[OWN] < 0:
            worse.append(f"{edge} (R2 {values[OWN]:.2f})")
        elif best != OWN:
            behind.append(f"{edge} ({values[OWN]:.2f} against {values[best]:.2f} of {best})")
    text = (
        f" For the net counts of {', '.join(worse)} it is worse than the mean spectrum: no use there." if worse else ""
    )
    return text + (f" For the net counts of {', '.join(behind)} a baseline is better." if behind else "")


def _of_what_is_not_told(silent: str) -> str:
    if not silent:
        return ""
    return f" The input says nothing of {silent} that held on held-out blocks: mean and spread are given instead."


def _of_intervals(report: SpectrumReport | ImageReport) -> str:
    off = abs(report.coverage - ONE_SIGMA)
    if off < OFF:
        return ""
    by_chance = "as blocks differ by chance, whose errors are alike over long distances"
    reason = by_chance if off < 2 * report.coverage_std else "blocks differ less by chance, so they do not hold"
    inside = f"{100 * report.coverage:.0f} +- {100 * report.coverage_std:.0f} %"
    return f" Its one-sigma intervals hold {inside} of what was held out, not 68 %: {reason}."
