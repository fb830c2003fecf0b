"""The list of nodes in a file, as nodes join and leave: what people have written beside it stays."""

import socket
from pathlib import Path

import pytest

from zraft import config
from zraft.config.nodelist import listed, next_name, with_node, without_node
from zraft.errors import ConfigError

FLOW = """# Of ours.
cluster: {name: shop}
nodes:
  # The first.
  - {id: n1, peer: ipc://run/n1.peer, client: ipc://run/n1.client, events: ipc://run/n1.events, priority: 3}
  - {id: n2, peer: ipc://run/n2.peer, client: ipc://run/n2.client, events: ipc://run/n2.events}
  # The end.
log: {level: ERROR}  # Quiet.
"""
BLOCK = """nodes:
- id: n1
  peer: ipc://a
  client: ipc://b
  events: ipc://c

- id: n2
  peer: ipc://run/n2.p
  client: ipc://run/n2.c
  events: ipc://run/x
storage: {directory: data}
"""


@pytest.fixture
def write(tmp_path: Path):
    def made(text: str) -> config.Config:
        file = tmp_path / "cluster.yaml"
        file.write_text(text)
        file.chmod(0o640)
        return config.load(file, env={})

    return made


def test_a_node_joins_the_list_and_all_are_marked(write) -> None:
    before = write(FLOW)
    after = with_node(before, "n3", {})
    file = Path(before.path)
    assert after == config.load(file, env={})
    assert [(node.id, node.join, node.priority) for node in after.nodes] == [
        ("n1", True, 3),
        ("n2", True, 1),
        ("n3", True, 1),
    ]
    assert after.founders == ()
    run = f"ipc://{file.parent}/run"
    assert after.node("n3") == config.Node("n3", f"{run}/n3.peer", f"{run}/n3.client", f"{run}/n3.events", 1, True)
    assert after.cluster.name == "shop"
    kept = [line for line in FLOW.splitlines() if "id:" not in line]
    lines = file.read_text().splitlines()
    assert [line for line in lines if "id" not in line] == kept
    assert lines.index("  # The end.") == len(lines) - 2
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(file.parent.iterdir()) == [file]


def test_a_node_leaves_the_list(write) -> None:
    after = without_node(with_node(with_node(write(FLOW), "n3", {}), "n4", {}), "n3", {})
    assert [node.id for node in after.nodes] == ["n1", "n2", "n4"]
    after = without_node(after, "n1", {})
    assert [node.id for node in after.nodes] == ["n2", "n4"]
    assert "# The first." in Path(after.path).read_text()
    assert without_node(after, "n9", {}) == after


def test_nodes_over_several_lines_become_one_line_each(write) -> None:
    after = with_node(write(BLOCK), "n3", {})
    assert [node.id for node in after.nodes] == ["n1", "n2", "n3"]
    text = Path(after.path).read_text()
    assert text.count("\n") == 6
    ends = after.node("n3")
    place = Path(after.path).parent
    assert (ends.peer, ends.client, ends.events) == (
        f"ipc://{place}/run/n3.p",
        f"ipc://{place}/run/n3.c",
        f"ipc://{place}/run/n3.events",
    )
    assert [node.id for node in without_node(after, "n2", {}).nodes] == ["n1", "n3"]


def test_ports_are_the_next_that_are_free(write) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        text = f"nodes:\n  - {{id: n1, peer: 'tcp://127.0.0.1:{port - 1}', client: 'tcp://127.0.0.1:{port - 2}'"
        text += f", events: 'tcp://127.0.0.1:{port + 1}'}}\n"
        node = with_node(write(text), "n2", {}).node("n2")
    ports = [int(end.rpartition(":")[2]) for end in (node.peer, node.client, node.events)]
    assert min(ports) > port - 2
    assert not {port - 1, port - 2, port, port + 1} & {*ports}
    assert len({*ports}) == 3


def test_names_are_not_used_twice_while_there_is_data_under_them(write, tmp_path: Path) -> None:
    loaded = write(BLOCK)
    assert next_name(loaded) == "n3"
    for name in ("n7", "nine", "n08", "supervisor.lock"):
        (tmp_path / "data" / name).mkdir(parents=True)
    assert next_name(loaded) == "n8"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nodes: [{id: n1, peer: ipc://a, client: ipc://b, events: ipc://c}]\n", r":1: nodes: cannot be changed here"),
        ("{nodes: [\n{id: n1, peer: ipc://a, client: ipc://b, events: ipc://c}]}\n", r":2: nodes: cannot be changed"),
    ],
)
def test_a_list_that_is_not_one_node_after_the_other_is_left_alone(write, text: str, says: str) -> None:
    loaded = write(text)
    for change in (with_node, without_node):
        with pytest.raises(ConfigError, match=says):
            change(loaded, "n2", {})
    assert Path(loaded.path).read_text() == text


def test_a_change_that_would_leave_a_mistake_is_not_made(write) -> None:
    loaded = write("nodes:\n  - {id: n1, peer: ipc://a, client: ipc://b, events: ipc://c}\n")
    with pytest.raises(ConfigError):
        without_node(loaded, "n1", {})
    with pytest.raises(ConfigError, match="must be 1 to 64"):
        with_node(loaded, "a b", {})
    assert listed(Path(loaded.path)) == ["n1"]


def test_nodes_that_the_environment_lists_are_not_in_the_file(write, tmp_path: Path) -> None:
    write(BLOCK)
    nodes = "[{id: n1, peer: ipc://a, client: ipc://b, events: ipc://c}]"
    loaded = config.load(tmp_path / "cluster.yaml", env={"ZRAFT_NODES": nodes})
    with pytest.raises(ConfigError, match="ZRAFT_NODES lists the nodes, and not"):
        with_node(loaded, "n2", {"ZRAFT_NODES": nodes})


@pytest.mark.parametrize("text", ["", "nodes: 1", "nodes: [1, {id: ../..}, {id: 7}]", "- a", "nodes: {", "\0"])
def test_what_is_no_list_names_nobody(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cluster.yaml"
    assert listed(file) == []
    file.write_text(text)
    assert listed(file) == []
