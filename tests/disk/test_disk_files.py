"""The file system seam on the operating system: what it makes, what it refuses, and that it writes everything."""

import errno
import os
import stat
from pathlib import Path

import pytest

from zraft.disk import OsFileSystem


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def fs(tmp_path: Path) -> OsFileSystem:
    return OsFileSystem(tmp_path)


def test_the_root_is_made_with_all_above_it_for_its_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "run" / "data" / "n1"
    fs = OsFileSystem(root)
    fs.mkdir("")
    fs.mkdir("")
    assert [mode(directory) for directory in (root, root.parent, root.parent.parent)] == [0o700] * 3
    assert str(fs) == str(root)


def test_directories_and_files_are_for_their_owner_alone(fs: OsFileSystem, tmp_path: Path) -> None:
    fs.mkdir("snapshots")
    fs.mkdir("snapshots")
    fs.open("snapshots/a", create=True).close()
    assert (mode(tmp_path / "snapshots"), mode(tmp_path / "snapshots" / "a")) == (0o700, 0o600)
    fs.sync_directory("snapshots")
    assert fs.list("snapshots") == ["a"]
    with pytest.raises(FileExistsError):
        fs.mkdir("snapshots/a")


def test_what_is_written_is_read(fs: OsFileSystem) -> None:
    file = fs.open("a", create=True)
    file.pwritev([b"ab", bytearray(b"cd"), memoryview(b"ef"), b""], 3)
    assert file.size() == 9
    assert file.pread(100, 0) == b"\0\0\0abcdef"
    assert file.pread(2, 4) == b"bc"
    assert file.pread(2, 50) == b""
    file.truncate(5)
    file.truncate(7)
    file.datasync()
    assert file.pread(100, 0) == b"\0\0\0ab\0\0"
    file.close()
    file.close()


def test_names_come_and_go(fs: OsFileSystem) -> None:
    fs.open("b", create=True).close()
    fs.open("a", create=True).close()
    assert fs.list() == ["a", "b"]
    fs.rename("a", "b")
    assert fs.list() == ["b"]
    assert (fs.exists("a"), fs.exists("b")) == (False, True)
    fs.unlink("b")
    fs.sync_directory()
    assert fs.list() == []


def test_a_file_is_made_once_and_opened_only_if_it_is_there(fs: OsFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        fs.open("a")
    fs.open("a", create=True).close()
    with pytest.raises(FileExistsError):
        fs.open("a", create=True)


def test_symbolic_links_are_not_followed(fs: OsFileSystem, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links") as caught:
        fs.open("link")
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError, match="symbolic links"):
        fs.lock("link")


@pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a/../b", "a//b", "./a"])
def test_no_path_leads_out(fs: OsFileSystem, path: str) -> None:
    with pytest.raises(AssertionError):
        fs.open(path)


def test_more_buffers_than_one_call_takes(fs: OsFileSystem) -> None:
    buffers = [bytes([number % 256]) * (number % 5) for number in range(3_000)]
    file = fs.open("a", create=True)
    file.pwritev(buffers, 0)
    assert file.pread(file.size(), 0) == b"".join(buffers)


def test_a_short_write_is_completed(fs: OsFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev
    calls: list[int] = []

    def grudging(fd: int, buffers: list[memoryview], offset: int) -> int:
        calls.append(offset)
        return real(fd, [b"".join(buffers)[:7]], offset)

    monkeypatch.setattr(os, "pwritev", grudging)
    file = fs.open("a", create=True)
    file.pwritev([b"0123", b"456789", b"abcdef"], 5)
    assert calls == [5, 12, 19]
    assert file.pread(100, 5) == b"0123456789abcdef"


def test_a_short_read_is_completed(fs: OsFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread
    file = fs.open("a", create=True)
    file.pwritev([b"0123456789"], 0)
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: real(fd, min(size, 3), offset))
    assert file.pread(8, 1) == b"12345678"
    assert file.pread(100, 0) == b"0123456789"


def test_a_write_that_goes_nowhere_is_an_error(fs: OsFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    with pytest.raises(OSError, match="wrote nothing"):
        fs.open("a", create=True).pwritev([b"x"], 0)


@pytest.mark.parametrize("call", ["pwritev", "pread", "ftruncate", "fdatasync"])
def test_errors_bear_the_path(fs: OsFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    file = fs.open("a", create=True)

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, broken)
    actions = {
        "pwritev": lambda: file.pwritev([b"x"], 0),
        "pread": lambda: file.pread(1, 0),
        "ftruncate": lambda: file.truncate(1),
        "fdatasync": file.datasync,
    }
    with pytest.raises(OSError, match="Input/output error") as caught:
        actions[call]()
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path / "a"))


def test_a_lock_has_one_holder_and_names_it(fs: OsFileSystem, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("99999999999")
    other = OsFileSystem(tmp_path)
    assert fs.lock("lock")
    assert fs.lock("lock"), "ours already"
    assert (tmp_path / "lock").read_text() == str(os.getpid())
    assert not other.lock("lock")
    fs.close()
    assert other.lock("lock")
    other.close()


def test_nothing_is_inherited_by_programs_that_are_started(fs: OsFileSystem, tmp_path: Path) -> None:
    file = fs.open("a", create=True)
    fs.lock("lock")
    fds = Path("/proc/self/fd")
    ours = [int(each.name) for each in fds.iterdir() if os.path.realpath(each).startswith(str(tmp_path))]
    assert len(ours) == 2
    assert not any(os.get_inheritable(fd) for fd in ours)
    file.close()
    fs.close()
