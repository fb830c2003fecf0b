"""``config/cluster.yaml`` says everything there is, with its default and its variables."""

from pathlib import Path

import pytest
import yaml

from zraft import config
from zraft.config.environment import _OTHER_NAMES
from zraft.config.schema import OPTIONS, SECTIONS

FILE = Path(__file__).parents[2] / "config" / "cluster.yaml"
TEXT = FILE.read_text()
CONTENT = yaml.safe_load(TEXT)
ELSEWHERE = {
    "storage.directory": "../.data",
    "log.directory": "../.data/log",
    "hooks.leader": "../scripts/leader.sh",
    "hooks.follower": "../scripts/follower.sh",
    "supervisor.control": "ipc://../.data/run/supervisor.sock",
}
"""Options that point out of ``config/`` here; the file states their defaults in words."""


def test_it_has_every_section_and_every_option():
    assert CONTENT.keys() == SECTIONS.keys() | {"nodes", "machines"}
    assert CONTENT["machines"] == {}
    assert {f"{section}.{key}" for section in SECTIONS for key in CONTENT[section]} == OPTIONS.keys()


@pytest.mark.parametrize("key", OPTIONS)
def test_every_option_has_its_default(key):
    section, name = key.split(".")
    expected = ELSEWHERE.get(key, OPTIONS[key].default)
    assert CONTENT[section][name] == expected
    assert type(CONTENT[section][name]) is type(expected)


@pytest.mark.parametrize("key", OPTIONS)
def test_every_option_has_a_comment_above_it(key):
    section, name = key.split(".")
    body = TEXT[TEXT.index(f"\n{section}:\n") :].splitlines()
    at = next(number for number, line in enumerate(body) if line.startswith(f"  {name}:"))
    assert body[at - 1].startswith("  # ")


@pytest.mark.parametrize("key", ELSEWHERE)
def test_the_default_of_an_option_that_points_elsewhere_is_stated(key):
    default = "null" if OPTIONS[key].default is None else OPTIONS[key].default
    assert f"Default: {default}\n" in TEXT


@pytest.mark.parametrize("name", [*_OTHER_NAMES, "ZRAFT_CONTAINER_PORT", "ZRAFT_NODES", "ZRAFT_MACHINES"])
def test_every_other_variable_is_documented(name):
    assert name in TEXT


def test_it_is_five_nodes_on_loopback_that_load_without_a_warning():
    loaded = config.load(FILE, env={})
    assert [node.id for node in loaded.nodes] == ["n1", "n2", "n3", "n4", "n5"]
    ports = [int(end.rpartition(":")[2]) for node in loaded.nodes for end in (node.peer, node.client, node.events)]
    assert len(set(ports)) == 15
    assert max(ports) < 32_768
    assert all(
        end.startswith("tcp://127.0.0.1:") for node in loaded.nodes for end in (node.peer, node.client, node.events)
    )
    assert loaded.warnings == ()


def test_its_data_lies_under_a_directory_that_git_ignores():
    loaded = config.load(FILE, env={})
    top = FILE.parents[1]
    assert "/.data/" in (top / ".gitignore").read_text().splitlines()
    for path in (loaded.storage.directory, loaded.log.directory, loaded.supervisor.control.removeprefix("ipc://")):
        assert Path(path).is_relative_to(top / ".data")
    assert Path(loaded.hooks.leader).parent == top / "scripts"
