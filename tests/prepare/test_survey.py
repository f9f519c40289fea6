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

    def crops(read, scalings, shape, masked):
        levels = [1, 2, 4]
        return [np.full((128, 128), np.log2(n), np.float32) for n in levels], levels, np.zeros(3, int)

    monkeypatch.setattr(module, "_scalings", lambda *given: {0: None})
    monkeypatch.setattr(module, "_crops", crops)
    return lambda sigma, dark=False, **options: survey_images(
        None, [(0,)], (600, 700), classify_like(sigma, dark), **options
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

    seen = survey_images(read, [(0, 1, 2)], (64, 80), classify_like(2.0))
    assert seen.sigma == DEFAULT_SIGMA and seen.confidence == 0


def shown_of(frames, order, groups=None, **options):
    """The windows that the network is shown of frames in some order, and the frames that come first."""
    shown = []

    def classify(crops):
        shown.append(crops)
        clear = np.clip(np.diff(crops).std(axis=(1, 2), dtype=float), 0.01, 0.9)  # of columns two pixels wide
        out = np.full((len(crops), 2 * BINS + 1), 1e-4)
        out[:, 8], out[:, -1] = clear, 1 - clear
        return out / out.sum(1, keepdims=True)

    def read(k, rows, columns):
        return frames[order[k]][rows, columns]

    groups = [tuple(range(len(order)))] if groups is None else groups
    seen = survey_images(read, groups, frames[0].shape, classify, **options)
    return shown[0], [order[k] for k in seen.frames], seen


def whole_counts(n, shape=(140, 300)):
    """Images of which many have the same percentiles."""
    rng = np.random.default_rng(8)
    return [rng.poisson(9.0 + k % 3, shape).astype(np.uint16) for k in range(n)]


@pytest.mark.parametrize("n", [2, 3, 7, 12])
def test_windows_and_frames_are_the_same_in_any_order(n):
    """They were those of the first three frames."""
    frames, rng = whole_counts(n), np.random.default_rng(n)
    windows, first, seen = shown_of(frames, list(range(n)))
    assert sorted(first) == list(range(n))
    for order in (list(range(n))[::-1], *(list(rng.permutation(n)) for _ in range(3))):
        others, also, same = shown_of(frames, order)
        np.testing.assert_array_equal(others, windows)
        assert also == first and (same.sigma, same.confidence) == (seen.sigma, seen.confidence)
        others, also, _ = shown_of([frame.astype(float) for frame in frames], order)
        np.testing.assert_allclose(others, windows, atol=1e-6)
        assert also == first


def test_many_frames_show_hardly_more_windows_than_three_and_all_parts_of_the_field():
    frames = whole_counts(12)
    assert len(shown_of(frames, [0, 1, 2])[0]) == 3 * (5 + 3 + 1)
    assert len(shown_of(frames, list(range(12)))[0]) == 12 * (2 + 1 + 1)
    part = [np.where(np.arange(300) > 300 - 60, frame, 9) for frame in frames]  # something at one rim only
    shares = [(shown_of(part, list(range(n)))[0].std(axis=(1, 2)) > 0.01).mean() for n in (3, 12)]
    assert shares[1] == pytest.approx(shares[0], abs=0.12)


def test_a_group_of_frames_is_looked_at_as_a_whole():
    frames = whole_counts(7)
    frames[2] = np.full_like(frames[2], 5)
    for order in ([0, 1, 2, 3, 4, 5, 6], [1, 0, 2, 3, 4, 5, 6], [0, 1, 3, 2, 4, 5, 6]):
        assert set(shown_of(frames, order, [(0, 1), (2, 3), (4, 5), (6,)])[1]) == {0, 1, 3}
    assert set(shown_of(frames, [0, 1, 2, 3, 4, 5, 6], [(0,), (1,)])[1]) == {0, 1}
    assert set(shown_of(frames, [0, 1, 2, 3, 4, 5, 6], [(0,), (1, 3), (4,)], enough=2)[1]) == {0, 1, 3}


def test_frames_that_show_the_columns_best_come_first():
    grain, slope = np.random.default_rng(2).normal(0, 1, (140, 300)), np.linspace(0, 20, 300)
    frames = [grain + height * slope for height in (3, 1, 4, 2)]  # of the range the grain is ever less
    assert shown_of(frames, [0, 1, 2, 3])[1] == [1, 3, 0, 2]


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
