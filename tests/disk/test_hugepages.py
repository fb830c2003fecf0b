"""Memory is put into huge pages, where the kernel can; what is in it stays as it was."""

import os
import re
import threading
from pathlib import Path

import pytest
from awaiting import eventually

from zraft import hugepages

MIB = 1 << 20


def huge_mib() -> int:
    """Return how much of this process's own memory lies in huge pages."""
    found = re.search(r"AnonHugePages: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text())
    assert found is not None
    return int(found[1]) >> 10


def small_objects() -> dict[bytes, bytes]:
    """Return some 60 MiB of what a store is made of."""
    return {b"key %d" % number: b"value %d" % (number % 1_000) for number in range(300_000)}


def test_what_lies_in_small_pages_is_put_into_huge_ones() -> None:
    state, before = small_objects(), huge_mib()
    if hugepages.gather() == 0:
        pytest.skip("HUGE PAGES ARE NOT TESTED: this kernel puts none together (Linux 6.1 does, unless told never to)")
    assert huge_mib() > before + 10
    pid = os.fork()
    if pid == 0:
        os._exit(state == small_objects())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1, "it is shared as it was"
    assert state == small_objects()


def test_nothing_is_done_where_the_system_says_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = tmp_path / "enabled"
    asked: list[int] = []
    monkeypatch.setattr(hugepages, "_madvise", lambda *given: asked.append(given) or 0)
    monkeypatch.setattr(hugepages, "_PAUSE_S", 0)
    monkeypatch.setattr(hugepages, "_ENABLED", never)
    assert hugepages.gather() == 0, "there is no such thing here"
    never.write_text("always madvise [never]\n")
    assert hugepages.gather() == 0
    assert not asked
    never.write_text("always [madvise] never\n")
    assert hugepages.gather() == len(asked) > 0


def test_a_kernel_that_refuses_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugepages, "_madvise", lambda *given: -1)
    monkeypatch.setattr(hugepages, "_PAUSE_S", 0)
    assert hugepages.gather() == 0


def test_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    ended = threading.Event()
    monkeypatch.setattr(hugepages, "gather", lambda: (gate.wait(20), ended.set()))
    hugepages.begin()
    assert not ended.is_set()
    gate.set()
    assert ended.wait(20)
    eventually("its thread is gone", lambda: not any(each.name == "pages" for each in threading.enumerate()))
