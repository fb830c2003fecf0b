"""Machines of one's own: imported by the name that the configuration gives, or refused in words."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zraft.config import Config, Node
from zraft.errors import ConfigError
from zraft.machines.configured import describer, own_machines
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.machine import Applied
from zraft.machines.mounts import DESCRIBERS, mount, mounted

SOUND = """
class Sound:
    def apply(self, command, at): return command
    def query(self, query): return query
    def snapshot(self): return iter(())
    def restore(self, chunks): pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write a module that can be imported until the test ends."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def configured(**machines: str) -> Config:
    return Config(nodes=(Node("n1", "p", "c", "e"),), machines=machines, path="FILE")


def test_classes_are_imported_and_mounted_beside_those_that_zraft_comes_with(
    module: Callable[[str, str], None],
) -> None:
    module("zr_sound", SOUND + "class Outer:\n    Inner = Sound\n")
    machines, describers = mount(configured(one="zr_sound:Sound", two="zr_sound:Outer.Inner"))
    assert machines.keys() == mounted(key_bytes_max=1, value_bytes_max=1).keys() | {"one", "two"}
    assert machines["one"] is not machines["two"]
    assert machines["one"].apply(b"c", Applied(1, 1, 0, 1, None, None)) == b"c"
    assert describers == DESCRIBERS


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("zr_nowhere:Sound", "", "there is no module zr_nowhere; install it, or put its directory on PYTHONPATH"),
        ("zr_nowhere.deep:Sound", "", "there is no module zr_nowhere; install it, or put its directory on PYTHONPATH"),
        ("zr_bad:Missing", SOUND, "the module zr_bad has no Missing; correct the name"),
        ("zr_bad:Sound.Missing", SOUND, "the module zr_bad has no Sound.Missing; correct the name"),
        ("zr_bad:Sound", "import zr_other_thing", "the module zr_bad cannot be imported: ModuleNotFoundError: No module named 'zr_other_thing'; install that too"),
        ("zr_bad:Sound", "class", "the module zr_bad cannot be imported: SyntaxError: invalid syntax (zr_bad.py, line 1); correct it"),
        ("zr_bad:Sound", "1 / 0", "the module zr_bad cannot be imported: ZeroDivisionError: division by zero; correct it"),
        ("zr_bad:Bare", "class Bare:\n def apply(self): pass\n snapshot = 1", "zr_bad:Bare is no state machine: it lacks query, snapshot, restore; see zraft.machines.machine"),
        ("zr_bad:Fussy", "class Fussy:\n def __init__(self):\n  raise ValueError('a\\nb')", "zr_bad:Fussy() cannot be made: ValueError: a\\nb; a machine is made without arguments"),
        ("zr_bad:number", "number = 1", "zr_bad:number() cannot be made: TypeError: 'int' object is not callable; a machine is made without arguments"),
    ],
)  # fmt: skip
def test_what_cannot_be_mounted_is_named_with_the_reason(
    module: Callable[[str, str], None], path: str, text: str, says: str
) -> None:
    module("zr_bad", text)
    with pytest.raises(ConfigError) as raised:
        own_machines(configured(mine=path), ())
    assert raised.value.mistakes == (f"FILE: machines.mine: {says}",)


def test_all_that_is_wrong_is_said_at_once_and_with_the_variable_where_that_said_it() -> None:
    config = configured(kv="zr_nowhere:A", other="zr_nowhere:B")
    with pytest.raises(ConfigError) as raised:
        mount(config)
    assert [mistake.split(";")[0] for mistake in raised.value.mistakes] == [
        "FILE: machines.kv: zraft has a machine of that name itself",
        "FILE: machines.other: there is no module zr_nowhere",
    ]
    config.origins["machines"] = "ZRAFT_MACHINES"
    with pytest.raises(ConfigError, match="^ZRAFT_MACHINES: machines.kv: zraft has"):
        mount(config)


def test_a_machine_may_say_what_its_commands_do(module: Callable[[str, str], None]) -> None:
    module("zr_telling", SOUND + "    def describe(self, command): return command.decode() * 100 + '!'\n")
    describe = mount(configured(mine="zr_telling:Sound"))[1]["mine"]
    assert describe(b"a\n") == "a\\n" * 100
    assert describe(b"\xff") == "1 B that describe() fails at: UnicodeDecodeError"
    assert describer(KeyValueStore()) is None
