"""What is not ours, or does not work, is refused in a line that says what, where and what to do; failure is final."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from crashfs import CrashFS
from logmodel import CLUSTER_ID, DISK_ID, SEGMENT_BYTES, State, entry, open_log, recovered_state, write

from zraft.disk import OsFileSystem
from zraft.errors import ConfigError, StorageError
from zraft.storage.segments import segment_name

FIRST = segment_name(1)


def refusal(fs: CrashFS | OsFileSystem, **changed) -> str:
    with pytest.raises(StorageError) as caught:
        open_log(fs, **changed)
    line = str(caught.value)
    assert caught.value.exit_code == 5
    assert "\n" not in line
    assert "; " in line, "what to do comes behind a semicolon"
    return line


def lived_in() -> CrashFS:
    fs = CrashFS()
    storage = open_log(fs)
    storage.write([write(entry(1))])
    storage.close()
    return fs


def test_another_clusters_directory() -> None:
    line = refusal(lived_in(), cluster_id=0xABC)
    assert line.startswith("/data/n1: belongs to cluster 0123456789abcdef, not to cluster 0000000000000abc; ")


def test_another_nodes_directory() -> None:
    line = refusal(lived_in(), node="n2")
    assert line.startswith("/data/n1: belongs to node n1, not to node n2; ")


def test_a_foreign_segment_is_refused_even_when_only_made_ahead() -> None:
    fs = lived_in()
    fs.visible[segment_name(7)] = fs.visible[FIRST].copy()
    assert "belongs to node n1" in refusal(fs, node="n2")


def test_an_unknown_version() -> None:
    fs = lived_in()
    fs.visible[FIRST].visible[8] = 2
    assert refusal(fs).startswith(
        f"/data/n1/{FIRST}: written in a format that this zraft does not know; start the node"
    )


def test_a_directory_full_of_other_things_gets_no_identity() -> None:
    fs = CrashFS()
    fs.open("thesis.tex", create=True)
    line = refusal(fs, new_disk_id=lambda: pytest.fail("minted in somebody else's directory"))
    assert line.startswith("/data/n1: holds no log of zraft and yet 'thesis.tex'; give the node an empty directory")
    assert fs.list() == ["lock", "thesis.tex"]


def test_the_root_of_a_file_system_is_a_blank_directory() -> None:
    fs = CrashFS()
    fs.open("lost+found", create=True)
    assert open_log(fs).recovered.blank


@pytest.mark.parametrize(
    ("operation", "number", "line"),
    [
        ("mkdir", errno.EACCES, "cannot use /data/n1: Permission denied; make the directory and all in it belong to"),
        ("open", errno.EACCES, f"cannot read /data/n1/{FIRST}: Permission denied; make the directory and all in it"),
        ("open", errno.ELOOP, f"cannot read /data/n1/{FIRST}: Too many levels of symbolic links; symbolic links"),
        ("pread", errno.EIO, f"cannot read /data/n1/{FIRST}: Input/output error; find the cause"),
        ("create", errno.ENOSPC, f"cannot write /data/n1/{segment_name(2)}: No space left on device; free some space"),
        ("pwritev", errno.ENOSPC, f"cannot write /data/n1/{segment_name(2)}: No space left on device; free some space"),
        (
            "create",
            errno.EROFS,
            f"cannot write /data/n1/{segment_name(2)}: Read-only file system; mount the file system",
        ),
        ("sync_directory", errno.EIO, "cannot write /data/n1: Input/output error; find the cause"),
    ],
)
def test_a_directory_that_does_not_work(operation: str, number: int, line: str) -> None:
    fs = lived_in()
    fs.fail[operation] = number
    assert refusal(fs).startswith(line)
    assert fs.open_files == 0
    assert recovered_state(open_log(fs)) == State((entry(1),)), "once the cause is gone, all is as it was"


@pytest.mark.parametrize(
    ("operation", "number", "text"),
    [
        ("pwritev", errno.ENOSPC, "No space left on device; free some space, and start the node again"),
        ("pwritev", errno.EIO, "Input/output error; find the cause"),
        ("pwritev", errno.EROFS, "Read-only file system; mount the file system"),
        ("datasync", errno.EIO, "Input/output error; find the cause"),
        ("datasync", errno.ENOSPC, "No space left on device; free some space"),
    ],
)
def test_the_first_failure_is_final(operation: str, number: int, text: str) -> None:
    fs = CrashFS()
    storage = open_log(fs)
    storage.write([write(entry(1))])
    fs.fail[operation] = number
    with pytest.raises(StorageError) as first:
        storage.write([write(entry(2))])
    assert str(first.value).startswith(f"cannot write /data/n1/{FIRST}: {text}")
    before = len(fs.log)
    for attempt in (lambda: storage.write([write(entry(2))]), lambda: storage.write([]), storage.prepare):
        with pytest.raises(StorageError, match=str(first.value).split(";", maxsplit=1)[0]):
            attempt()
    assert len(fs.log) == before, "nothing is tried again"
    storage.close()
    assert recovered_state(open_log(fs.after_kill())) in (State((entry(1),)), State((entry(1), entry(2))))


def test_a_failure_to_make_the_next_segment_is_final_too() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    fs.fail["pwritev"] = errno.ENOSPC
    with pytest.raises(StorageError, match=f"cannot prepare a segment in /data/n1/{segment_name(2)}: No space left"):
        storage.prepare()
    with pytest.raises(StorageError, match="No space left"):
        storage.write([write(entry(1))])


def test_a_full_disk_piles_up_no_files_however_often_the_node_tries() -> None:
    fs = lived_in()
    for _ in range(5):
        fs.fail["pwritev"] = errno.ENOSPC
        refusal(fs)
    assert len([name for name in fs.list() if name.endswith(".wal")]) == 2
    assert recovered_state(open_log(fs)) == State((entry(1),))


def test_a_closed_log_takes_nothing_more() -> None:
    storage = open_log(CrashFS())
    storage.close()
    with pytest.raises(StorageError, match="closed"):
        storage.write([write(entry(1))])
    storage.close()


def test_a_directory_in_use_without_a_readable_holder() -> None:
    fs = CrashFS()
    fs.locked_by_another = True
    with pytest.raises(ConfigError, match=r"data directory /data/n1 is in use by another process \(pid 4711\); stop"):
        open_log(fs)
    fs.visible["lock"].visible.clear()
    with pytest.raises(ConfigError, match="in use by another process; stop that one"):
        open_log(fs)


def test_something_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "n1").write_text("a file")
    line = refusal(OsFileSystem(tmp_path / "n1"))
    assert line.startswith(f"cannot use {tmp_path}/n1: Not a directory; a data directory must be a directory")
    assert refusal(OsFileSystem(tmp_path / "n1" / "below")).startswith("cannot use ")


def test_a_symbolic_link_in_place_of_a_segment(tmp_path: Path) -> None:
    (tmp_path / FIRST).symlink_to("/etc/passwd")
    assert refusal(OsFileSystem(tmp_path)).startswith(f"cannot read {tmp_path}/{FIRST}: Too many levels of symbolic")


HOLDER = f"""
import sys
from pathlib import Path
from zraft.disk import OsFileSystem
from zraft.raft.ready import Write
from zraft.raft.types import Entry
from zraft.storage import Storage
storage = Storage.open(OsFileSystem(Path(sys.argv[1])), cluster_id={CLUSTER_ID}, node="n1",
                       segment_bytes={SEGMENT_BYTES}, new_disk_id=lambda: "{DISK_ID}")
print("open", flush=True)
index = len(storage.recovered.entries)
while sys.argv[2] == "write":
    index += 1
    storage.write([Write(index, 1, entries=[Entry(1, index, 1, index, b"%d" % index * 50)])])
    print(index, flush=True)
sys.stdin.read()
"""


def holder(directory: Path, what: str) -> subprocess.Popen[str]:
    """Start a process that opens the log in `directory`, says so, and then holds it or writes to it for ever."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


@pytest.mark.processes
def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    process = holder(tmp_path / "n1", "hold")
    try:
        with pytest.raises(ConfigError) as caught:
            open_log(OsFileSystem(tmp_path / "n1"))
        assert str(caught.value) == (
            f"data directory {tmp_path}/n1 is in use by another process (pid {process.pid}); stop that one, or give"
            " this node a directory of its own (storage.directory)"
        )
        assert caught.value.exit_code == 2
    finally:
        process.kill()
        process.communicate(timeout=10)
    fs = OsFileSystem(tmp_path / "n1")
    assert open_log(fs).disk_id == DISK_ID
    fs.close()


@pytest.mark.processes
def test_a_killed_process_loses_nothing_that_it_told_of(tmp_path: Path) -> None:
    told = 0
    for _ in range(3):
        process = holder(tmp_path / "n1", "write")
        assert process.stdout is not None
        for line in process.stdout:
            told = int(line)
            if told % 60 == 0:  # A few segments further.
                process.kill()
                break
        rest, _ = process.communicate(timeout=10)
        told = int(rest.split()[-1]) if rest.split() else told
    fs = OsFileSystem(tmp_path / "n1")
    storage = open_log(fs)
    found = storage.recovered.entries
    assert [each.data for each in found] == [b"%d" % index * 50 for index in range(1, len(found) + 1)]
    assert told <= len(found) <= told + 1
    storage.close()
    fs.close()
