import io

import pytest
from tqdm import tqdm

from hs_deepatoms._core.progress import Share, progress


@pytest.mark.parametrize(("steps", "total"), [(1, 100), (3, 100), (7, 5), (250, 100)])
def test_a_share_is_full_after_its_steps_and_never_more(steps, total):
    with tqdm(total=2 * total, file=io.StringIO()) as bar:
        share = Share(bar, steps, total)
        seen = []
        for _ in range(steps):
            share.update()
            seen.append(bar.n)
        assert seen == sorted(seen) and seen[-1] == total and share.n == steps
        Share(bar, steps, total).update(steps)
        assert bar.n == 2 * total


def test_percent_alone_where_counts_say_nothing(capfd):
    with progress(100, "Finding", True, "%") as bar:
        bar.update(100)
    seen = capfd.readouterr().err
    assert "Finding: 100%" in seen and "100/100" not in seen


def test_short_jobs_show_no_bar_that_waits(capfd):
    with progress(3, "Lattice", True, delay=5.0) as bar:
        bar.update(3)
    assert "Lattice" not in capfd.readouterr().err
