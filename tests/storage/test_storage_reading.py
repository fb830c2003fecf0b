"""Reading a log that is somebody else's: the same as recovery finds, with nothing taken and nothing changed."""

import pytest
from crashfs import CrashFS
from logmodel import entry, open_log, write

from zraft.errors import NotFound, StorageError
from zraft.raft.types import HardState
from zraft.storage.reading import read_log


def contents(fs: CrashFS) -> dict[str, bytes]:
    return {name: bytes(inode.visible) for name, inode in fs.visible.items()}


def grown() -> CrashFS:
    fs = CrashFS()
    storage = open_log(fs)
    storage.write([write(hard_state=HardState(1, "n1"))])
    for index in range(1, 9):
        storage.write([write(entry(index, data=bytes([index]) * 900))])
    storage.write([write(entry(5, 2), truncate_from=5)])
    return fs


def test_it_finds_what_recovery_finds_and_leaves_everything_as_it_is() -> None:
    fs = grown()
    before = contents(fs)
    found = read_log(fs)
    assert contents(fs) == before
    recovered = open_log(fs.after_kill()).recovered
    assert (found.entries, found.hard_state, found.base) == (recovered.entries, recovered.hard_state, recovered.base)
    assert [each.index for each in found.entries] == [1, 2, 3, 4, 5]
    assert found.entries[-1].term == 2


def test_a_directory_without_a_log_is_not_found() -> None:
    with pytest.raises(NotFound, match="no log in it; name the data directory of a node"):
        read_log(CrashFS())


def test_a_damaged_log_is_refused_by_name() -> None:
    fs = grown()
    name = min(name for name in contents(fs) if name.endswith(".wal"))
    fs.visible[name].visible[4_100] ^= 1
    before = contents(fs)
    with pytest.raises(StorageError, match=rf"{name}: damaged at offset 4096: "):
        read_log(fs)
    assert contents(fs) == before


def test_a_log_no_header_of_which_is_intact_is_refused_and_not_taken_for_empty() -> None:
    fs = grown()
    for name in [name for name in contents(fs) if name.endswith(".wal")]:
        fs.visible[name].visible[0] ^= 1
    with pytest.raises(StorageError, match="damaged at offset 0"):
        read_log(fs)


def test_whose_it_is_is_told_by_any_header_that_is_intact() -> None:
    fs = grown()
    names = sorted(name for name in contents(fs) if name.endswith(".wal"))
    fs.visible[names[0]].visible[0] ^= 1
    with pytest.raises(StorageError, match=rf"{names[0]}: damaged at offset 0: no intact header, though segment"):
        read_log(fs)
