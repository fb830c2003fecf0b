"""What a script must be before a node starts with it; each mistake is one line that says what to do."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zraft.hooks import check

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of other users, and root's own strictness")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "lead.sh"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def mistakes(path: Path | str) -> list[str]:
    found, warnings = check.check_script(str(path), "hooks.leader", "/etc/zraft.yaml")
    assert warnings == []
    assert all(len(line.splitlines()) == 1 for line in found)
    start = f"hooks.leader: {path} (in /etc/zraft.yaml): "
    assert all(line.startswith(start) for line in found)
    return [line.removeprefix(start) for line in found]


def test_a_sound_script_has_no_mistakes_though_it_lies_in_a_sticky_directory(script: Path) -> None:
    assert mistakes(script) == []
    script.parent.chmod(0o1777)
    assert mistakes(script) == []


def test_a_missing_script(script: Path) -> None:
    expected = ["there is no such file; correct the path, or remove the option to run nothing"]
    assert mistakes(script.parent / "none") == expected
    assert mistakes(script / "none") == expected


def test_what_is_no_file(script: Path) -> None:
    assert mistakes(script.parent) == ["is a directory; name an executable file"]
    assert mistakes("/dev/null") == ["is no regular file; name an executable file"]


def test_a_script_that_is_not_executable(script: Path) -> None:
    script.chmod(0o644)
    assert mistakes(script) == [f"is not executable; run: chmod +x {script}"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "has no interpreter in its first line; begin it with: #!/bin/sh"),
        (b"echo hi\n", "has no interpreter in its first line; begin it with: #!/bin/sh"),
        (b"#!/no/such\n", "its interpreter '/no/such' is missing or not executable; correct the first line"),
        (b"#!\n", "its interpreter '' is missing or not executable; correct the first line"),
        (b"#!/bin/sh\r\necho\r\n", "has Windows line ends, which the kernel takes as part of the interpreter; run: "),
    ],
)
def test_a_script_that_the_kernel_cannot_execute(script: Path, content: bytes, expected: str) -> None:
    script.write_bytes(content)
    (line,) = mistakes(script)
    assert line.startswith(expected)


def test_a_binary_program_is_fine(script: Path) -> None:
    script.write_bytes(Path("/bin/true").read_bytes())
    assert mistakes(script) == []
    assert mistakes("/bin/true") == []


def test_a_script_that_others_may_write(script: Path) -> None:
    script.chmod(0o757)
    assert mistakes(script) == [f"{script} is writable by every user; run: chmod o-w {script}"]


def test_a_directory_that_others_may_write(script: Path) -> None:
    script.parent.chmod(0o757)
    assert mistakes(script) == [f"directory {script.parent} is writable by every user; run: chmod o-w {script.parent}"]


def test_a_directory_on_the_way_of_a_link_counts_too(script: Path, tmp_path: Path) -> None:
    through = tmp_path / "through"
    through.mkdir()
    (through / "middle").symlink_to(script)
    link = tmp_path / "link.sh"
    link.symlink_to("through/../through/middle")
    assert mistakes(link) == []
    through.chmod(0o757)
    assert set(mistakes(link)) == {f"directory {through} is writable by every user; run: chmod o-w {through}"}


def test_every_mistake_is_told_at_once_and_names_are_quoted(tmp_path: Path) -> None:
    directory = tmp_path / "my scripts"
    directory.mkdir()
    script = directory / "lead.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o757)
    directory.chmod(0o757)
    assert mistakes(script) == [
        f"directory {directory} is writable by every user; run: chmod o-w '{directory}'",
        f"{script} is writable by every user; run: chmod o-w '{script}'",
    ]


def a_script(path: Path) -> Path:
    return path


def its_directory(path: Path) -> Path:
    return path.parent


@as_root
@pytest.mark.parametrize("of", [a_script, its_directory])
def test_what_a_third_user_owns_is_refused(script: Path, of: Callable[[Path], Path]) -> None:
    owned = of(script)
    os.chown(owned, 12_345, -1)
    (line,) = mistakes(script)
    assert line.endswith(f"{owned} belongs to another user (uid 12345); run: chown 0 {owned}")


@as_root
def test_a_link_that_a_third_user_owns_is_refused(script: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.sh"
    link.symlink_to(script)
    os.lchown(link, 12_345, -1)
    assert mistakes(link) == [f"{link} belongs to another user (uid 12345); run: chown 0 {link}"]


@as_root
@pytest.mark.parametrize("of", [a_script, its_directory])
def test_what_a_group_may_write_is_refused_for_root(script: Path, of: Callable[[Path], Path]) -> None:
    writable = of(script)
    writable.chmod(0o775)
    (line,) = mistakes(script)
    assert line.endswith(
        f"{writable} is writable by its group, which a script run as root must not be; run: chmod g-w {writable}"
    )


@as_root
def test_what_a_group_may_write_is_doubted_for_others(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script.chmod(0o775)
    monkeypatch.setattr(check.os, "geteuid", lambda: 12_345)
    found, warnings = check.check_script(str(script), "hooks.follower")
    assert found == []
    assert warnings == [f"hooks.follower: {script}: {script} is writable by its group; safer: chmod g-w {script}"]
