"""A folder of finished blocks: whole or not there, whatever stopped the process between two lines."""

import dask.array as da
import numpy as np
import pytest

from hs_deepatoms._core.errors import StoreError
from hs_deepatoms.engine import checkpoint
from hs_deepatoms.engine.checkpoint import Checkpoint, differences, discard, fingerprint, holds

JOB = {"data": {"shape": [3, 4]}, "parameters": {"threshold": 0.5, "mask": None}}


def test_what_was_put_is_there_for_the_next_run(tmp_path):
    first = Checkpoint(tmp_path / "parts", JOB)
    assert first.missing("columns", 3) == [0, 1, 2]
    first.put("columns", 1, {"y": np.array([1.5, 2.5]), "n": np.array([], np.int8)})
    again = Checkpoint(tmp_path / "parts", JOB)
    assert again.missing("columns", 3) == [0, 2] and again.missing("candidates", 2) == [0, 1]
    arrays = again.get("columns", 1)
    assert arrays["y"].tolist() == [1.5, 2.5] and arrays["n"].dtype == np.int8
    assert list(again.get("columns", 1, ["n"])) == ["n"]


def test_half_a_block_is_no_block(tmp_path, monkeypatch):
    parts = Checkpoint(tmp_path / "parts", JOB)

    def half(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.np, "savez", half)
        parts.put("columns", 0, {"y": np.zeros(2)})
    assert Checkpoint(tmp_path / "parts", JOB).missing("columns", 1) == [0]
    parts.put("columns", 0, {"y": np.ones(2)})
    assert parts.get("columns", 0)["y"].tolist() == [1, 1]


def test_stopped_at_the_very_first_write(tmp_path, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    for name in ("write_text", "replace"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(checkpoint.Path, name, stop)
            Checkpoint(tmp_path / "parts", JOB)
        assert not (tmp_path / "parts").exists()
    assert Checkpoint(tmp_path / "parts", JOB).missing("columns", 1) == [0]
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def test_stopped_while_cleaning(tmp_path, monkeypatch):
    folder, unlink, calls = tmp_path / "parts", checkpoint.Path.unlink, []
    parts = Checkpoint(folder, JOB)
    for k in range(3):
        parts.put("columns", k, {"y": np.zeros(k)})
    (folder / "table.zarr").mkdir()

    def stop(path, **options):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        unlink(path, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.Path, "unlink", stop)
        parts.discard()
    assert holds(folder, JOB) and not holds(folder, {**JOB, "data": 1}) and not holds(tmp_path / "other", JOB)
    discard(folder)
    assert not folder.exists()


def test_another_job_is_refused_by_name(tmp_path):
    Checkpoint(tmp_path / "parts", JOB)
    with pytest.raises(StoreError, match=r"parameters: .*0\.5.* then, .*0\.7.* now"):
        Checkpoint(tmp_path / "parts", {**JOB, "parameters": {"threshold": 0.7, "mask": None}})


@pytest.mark.parametrize(("key", "said"), [("blocks", "divided otherwise: other chunks"), ("model", "another model")])
def test_what_is_told_by_a_hash_is_said_in_words(tmp_path, key, said):
    first, second = "0123456789abcdef" * 2, "f" * 32
    Checkpoint(tmp_path / "parts", {**JOB, key: first})
    with pytest.raises(StoreError, match=said) as error:
        Checkpoint(tmp_path / "parts", {**JOB, key: second})
    assert first not in str(error.value) and second not in str(error.value)


def test_the_fingerprint_tells_data_apart():
    data = np.random.default_rng(0).normal(size=(2, 3, 20, 30))
    changed = data.copy()
    changed[1, 2, 4, 5] += 1e-9
    assert fingerprint(data) == fingerprint(data.copy()) != fingerprint(changed)
    assert fingerprint(data) != fingerprint(data.astype(np.float32))


def test_a_change_in_any_frame_of_an_array_shows():
    from hs_deepatoms.engine.checkpoint import fingerprint

    data = np.random.default_rng(0).normal(size=(24, 9, 11))
    first = fingerprint(data)
    for frame in range(24):
        other = data.copy()
        other[frame] = other[frame, ::-1]
        assert fingerprint(other) != first


def counted(data, chunks):
    """The same data, lazy, and the frames that are loaded of it, each time that they are."""
    loaded = []

    def load(block_info=None):
        place = [slice(*span) for span in block_info[None]["array-location"]]
        loaded.extend(range(place[0].start, place[0].stop))
        return data[tuple(place)]

    return da.map_blocks(load, chunks=chunks, dtype=data.dtype, meta=data[:0]), loaded


@pytest.mark.parametrize("per_chunk", [1, 5, 24])
def test_a_change_in_any_frame_of_lazy_data_shows_up_to_their_size(per_chunk):
    """Eight frames were looked at."""
    data = np.random.default_rng(0).normal(size=(24, 9, 11))
    chunks = tuple(min(per_chunk, 24 - k) for k in range(0, 24, per_chunk)), (9,), (5, 6)
    lazy, loaded = counted(data, chunks)
    first = fingerprint(lazy)
    assert first == fingerprint(data) and sorted(loaded) == sorted(2 * [*range(24)])
    for frame in range(24):
        other = data.copy()
        other[frame, 4, 3] += 1e-9
        assert fingerprint(counted(other, chunks)[0]) != first


def test_of_more_data_as_many_frames_are_loaded_as_a_part_of_them_holds():
    data = np.random.default_rng(0).normal(size=(40, 9, 11))
    for bytes_, frames in ((0, 8), (20 * data[0].nbytes + 5, 20), (data.nbytes, 40)):
        lazy, loaded = counted(data, ((1,) * 40, (9,), (11,)))
        fingerprint(lazy, loaded=bytes_)
        assert len(loaded) == frames and min(loaded) == 0 and max(loaded) == 39


@pytest.mark.parametrize("left", [0, 0.5, "zeros", "one byte"])
def test_a_torn_block_is_missing_for_the_next_run(tmp_path, left):
    parts = Checkpoint(tmp_path / "parts", JOB)
    for k in range(3):
        parts.put("columns", k, {"y": np.arange(200.0) + k})
    file = tmp_path / "parts" / "columns-0000001.npz"
    content = bytearray(file.read_bytes())
    if left == "zeros":
        content[:] = bytes(len(content))
    elif left == "one byte":
        content[len(content) // 2] ^= 1
    else:
        content = content[: int(left * len(content))]
    file.write_bytes(content)
    again = Checkpoint(tmp_path / "parts", JOB)
    assert again.missing("columns", 4) == [1, 3]
    again.put("columns", 1, {"y": np.arange(200.0) + 1})
    assert again.missing("columns", 4) == [3] and again.get("columns", 1)["y"][0] == 1


def test_a_block_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """What a power cut may take is what was not synced: the file before the rename, the folder after it."""
    parts, steps = Checkpoint(tmp_path / "parts", JOB), []
    replace = checkpoint.Path.replace
    monkeypatch.setattr(checkpoint, "sync", lambda path: steps.append(("sync", path.name, path.exists())))

    def named(path, target):
        steps.append(("name", path.name, True))
        return replace(path, target)

    monkeypatch.setattr(checkpoint.Path, "replace", named)
    parts.put("columns", 0, {"y": np.zeros(2)})
    block = "columns-0000000.npz.part"
    assert steps == [("sync", block, True), ("name", block, True), ("sync", "parts", True)]


def test_a_torn_description_of_the_job_is_named(tmp_path):
    Checkpoint(tmp_path / "parts", JOB)
    (tmp_path / "parts" / "job.json").write_text('{"data"')
    with pytest.raises(StoreError, match="no unfinished job"):
        Checkpoint(tmp_path / "parts", JOB)
    assert not holds(tmp_path / "parts", JOB)


def test_what_somebody_else_put_there_stays(tmp_path):
    parts = Checkpoint(tmp_path / "parts", JOB)
    parts.put("columns", 0, {"y": np.zeros(2)})
    (parts.folder / "notes.txt").write_text("mine")
    parts.discard()
    assert [path.name for path in parts.folder.iterdir()] == ["notes.txt"] and not holds(parts.folder, JOB)


def test_a_block_without_what_is_asked_is_named(tmp_path):
    parts = Checkpoint(tmp_path / "parts", JOB)
    parts.put("columns", 0, {"y": np.zeros(2)})
    with pytest.raises(StoreError, match=r"columns-0000000.npz', a block without sums.* Remove that file"):
        parts.get("columns", 0, ["y", "sums"])


def test_of_a_job_in_another_format_nothing_but_that_is_said():
    old, new = ({"format": k, "data": {"sample": f"{k}" * 32, "shape": [3, 4, 5]}} for k in (3, 4))
    assert differences(old, new) == "format 3 then, 4 now: another version wrote it"
    assert "other values of pixels" in differences(old, new | {"format": 3})
