import numpy as np
import pytest

from hs_deepatoms.prepare.survey import DEFAULT_SIGMA, _best, survey_images

BINS = 17


def classify_like(sigma, dark=False):
    """A survey network that knows the width of every crop: it is told the magnification by the crop's mean."""

    def classify(crops):
        out = np.full((len(crops), 2 * BINS + 1), 1e-4)
        for k, crop in enumerate(crops):
            level = 2.0 ** np.round(crop[0, 0])
            place = round(4 * np.log2(sigma / level / 0.5))
            out[k, dark * BINS + place if 0 <= place < BINS else -1] = 1.0
        return out / out.sum(1, keepdims=True)

    return classify


@pytest.fixture
def survey(monkeypatch):
    """Runs the survey on frames whose crops carry their magnification."""
    from hs_deepatoms.prepare import survey as module

    def crops(read, frames, shape, masked, most_frames):
        levels = [1, 2, 4]
        return [np.full((128, 128), np.log2(n), np.float32) for n in levels], levels, [0]

    monkeypatch.setattr(module, "_crops", crops)
    return lambda sigma, dark=False, **options: survey_images(
        None, [0], (600, 700), classify_like(sigma, dark), **options
    )


@pytest.mark.parametrize("sigma", [0.71, 2.0, 5.66, 16.0])
@pytest.mark.parametrize("dark", [False, True])
def test_magnifications_add_up_to_one_absolute_width(survey, sigma, dark):
    seen = survey(sigma, dark)
    assert seen.sigma == pytest.approx(sigma, rel=0.1) and seen.dark == dark and seen.confidence > 0.9


def test_a_calibration_does_not_move_a_clear_width(survey):
    assert survey(4.0, pixel_nm=0.02).sigma == survey(4.0).sigma
    assert survey(4.0, pixel_nm=2.0).sigma == pytest.approx(4.0, rel=0.1)


def test_limits_and_contrast_are_obeyed(survey):
    assert survey(8.0, limits=(0.8, 3.0)).sigma <= 3.0
    assert not survey(4.0, dark=True, contrast="bright").dark


def test_constant_frames_are_skipped_and_nothing_gives_the_default():
    frames = np.zeros((3, 64, 80))

    def read(k, rows, columns):
        return frames[k, rows, columns]

    seen = survey_images(read, [0, 1, 2], (64, 80), classify_like(2.0))
    assert seen.sigma == DEFAULT_SIGMA and seen.confidence == 0


def test_the_other_contrast_is_named_where_it_is_nearly_as_likely():
    sigma, evidence = 0.5 * 2 ** (np.arange(20) / 4), np.zeros((2, 20))
    evidence[0, 12], evidence[1, 8] = 8.0, 8.4
    seen = _best(evidence, 0.0, np.zeros((2, 20)), sigma, None)
    assert seen.dark and not seen.rival.dark and seen.rival.confidence < seen.confidence
    assert seen.rival.sigma == pytest.approx(4.0, rel=0.1) and seen.sigma == pytest.approx(2.0, rel=0.1)
    evidence[0, 12] = 4.0
    assert _best(evidence, 0.0, np.zeros((2, 20)), sigma, None).rival is None


def test_nothing_is_refutable_up_to_a_point():
    sigma, evidence = 0.5 * 2 ** (np.arange(20) / 4), np.zeros((2, 20))
    evidence[0, 12] = 8.0
    likely, unlikely, none = (_best(evidence, n, np.zeros((2, 20)), sigma, None) for n in (2.0, 4.7, 6.0))
    assert not likely.unlikely and unlikely.unlikely and unlikely.doubtful and unlikely.confidence > 0
    assert none.confidence == 0 and none.sigma == DEFAULT_SIGMA
