"""What Linux tells the guard: who descends from whom, and when the time has come."""

import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from zraft.hooks import linux


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Start a script in a script in a script, under a name made to deceive."""
    script = tmp_path / "a) S 1 1"
    script.write_text('#!/bin/sh\nif [ "$1" = 0 ]; then echo up; exec sleep 60; else "$0" $(($1 - 1)) & wait; fi\n')
    script.chmod(0o755)
    process = subprocess.Popen([script, "4"], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    yield process
    os.killpg(process.pid, 9)
    process.wait()
    process.stdout.close()


@pytest.mark.processes
def test_descendants_are_found_generation_by_generation(nested: subprocess.Popen) -> None:
    found = linux.descendants(nested.pid)
    parents = [linux._parent(pid) for pid in found]
    assert parents == [nested.pid, *found[:-1]]
    assert len(found) == 4
    assert set(found) < set(linux.descendants(os.getpid()))


def test_a_process_that_is_gone_has_init_for_parent() -> None:
    assert linux._parent(1 << 30) == 1


def test_a_timer_fires_when_its_time_has_come_and_not_before() -> None:
    timer = linux.BootTimer()

    def wait_ms(at_most_ms: float) -> float | None:
        began = linux.boot_ms()
        return linux.boot_ms() - began if select.select([timer], [], [], at_most_ms / 1_000)[0] else None

    timer.set(linux.boot_ms() + 60_000)
    assert wait_ms(0) is None
    timer.set(linux.boot_ms() + 50)
    assert (took := wait_ms(10_000)) is not None
    assert 49 <= took < 5_000
    timer.set(None)
    assert wait_ms(0) is None
    timer.set(0)
    assert wait_ms(10_000) is not None
    os.close(timer.fileno())
