"""The run directory, and what `zraft cluster up` makes of its flags; no process is started."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from zraft import config
from zraft.config.nodelist import with_node
from zraft.errors import ConfigError
from zraft.supervisor.directory import RunDirectory, Scripts, packaged_scripts
from zraft.supervisor.launch import Launch, Wish, prepare


def never(question: str) -> bool:
    raise AssertionError(f"nothing should be asked: {question}")


def prepared(wish: Wish, confirm: Callable[[str], bool] = never, env: dict[str, str] | None = None) -> Launch:
    launch = prepare(wish, env or {}, confirm)
    launch.lock.release()
    return launch


def test_a_new_directory_has_everything_and_is_ours_alone(place: Path):
    launch = prepared(Wish(nodes=5, directory=place / "d"))
    assert [node.id for node in launch.settings.nodes] == ["n1", "n2", "n3", "n4", "n5"]
    assert stat.S_IMODE((place / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "d/cluster.yaml").stat().st_mode) == 0o600
    assert {name for name in os.listdir(place / "d") if name != "supervisor.lock"} == {
        "cluster.yaml",
        "data",
        "log",
        "run",
    }
    assert launch.settings.nodes[0].peer == f"ipc://{place}/d/run/n1.peer"
    assert launch.settings.storage.directory == f"{place}/d/data"
    assert launch.notes == ()


def test_each_new_cluster_has_an_id_of_its_own(place: Path):
    ids = {prepared(Wish(directory=place / name)).settings.cluster.id for name in "abcdef"}
    assert len(ids) == 6
    assert all(text is not None and len(text) == 16 and int(text, 16) >= 0 for text in ids)


def test_three_nodes_unless_told_otherwise(place: Path):
    assert len(prepared(Wish(directory=place / "d")).settings.nodes) == 3


def test_the_second_time_it_is_used_again_and_says_so(place: Path):
    first = prepared(Wish(nodes=5, directory=place / "d"))
    (place / "d/data/n1").mkdir()
    again = prepared(Wish(directory=place / "d"))
    assert again.settings.cluster.id == first.settings.cluster.id
    assert again.notes == (f"using the data of 5 nodes in {place}/d again (--fresh starts over)",)


def test_another_number_of_nodes_is_refused_with_the_way_to_do_it(place: Path):
    prepared(Wish(nodes=3, directory=place / "d"))
    with pytest.raises(ConfigError, match=r"holds a cluster of 3.*--nodes 5 --fresh"):
        prepared(Wish(nodes=5, directory=place / "d"))
    prepared(Wish(nodes=3, directory=place / "d"))


@pytest.mark.parametrize("nodes", [0, -1, 10])
def test_more_than_nine_or_less_than_one_is_refused(place: Path, nodes: int):
    with pytest.raises(ConfigError, match="1 to 9 nodes"):
        prepared(Wish(nodes=nodes, directory=place / "d"))
    assert not (place / "d").exists()


def test_an_even_number_works_and_says_why_odd_is_better(place: Path):
    launch = prepared(Wish(nodes=4, directory=place / "d"))
    assert len(launch.settings.nodes) == 4
    assert len(launch.notes) == 1
    assert launch.notes[0].endswith("4 nodes survive no more failures than 3; an odd number is better")


def fill(directory: Path) -> None:
    for name in ("n1", "n2"):
        (directory / "data" / name).mkdir()
        (directory / "data" / name / "segment").write_text("x")
        (directory / "log" / f"{name}.log").write_text("x")
    (directory / "log/n1.log.1").write_text("x")
    (directory / "log/supervisor.log").write_text("x")
    (directory / "mine.txt").write_text("x")
    (directory / "data/mine").mkdir()


def test_fresh_removes_what_zraft_has_made_and_nothing_else(place: Path):
    first = prepared(Wish(nodes=2, directory=place / "d"))
    fill(place / "d")
    asked: list[str] = []
    launch = prepared(Wish(nodes=5, directory=place / "d", fresh=True), lambda text: not asked.append(text))
    assert asked == [f"Delete the cluster in {place}/d with all its data?"]
    assert launch.settings.cluster.id != first.settings.cluster.id
    assert len(launch.settings.nodes) == 5
    left = {str(path.relative_to(place / "d")) for path in (place / "d").rglob("*")}
    assert left == {"cluster.yaml", "supervisor.lock", "data", "data/mine", "log", "run", "mine.txt"}


def test_fresh_that_is_not_confirmed_changes_nothing(place: Path):
    first = prepared(Wish(directory=place / "d"))
    fill(place / "d")
    with pytest.raises(ConfigError, match="kept as it is"):
        prepared(Wish(directory=place / "d", fresh=True), lambda text: False)
    assert prepared(Wish(directory=place / "d")).settings.cluster.id == first.settings.cluster.id
    assert (place / "d/data/n1/segment").exists()


def test_fresh_follows_no_link_out_of_the_directory(place: Path):
    prepared(Wish(nodes=1, directory=place / "d"))
    (place / "precious").mkdir()
    (place / "precious/file").write_text("x")
    (place / "d/data/n1").symlink_to(place / "precious")
    prepared(Wish(nodes=1, directory=place / "d", fresh=True), lambda text: True)
    assert (place / "precious/file").exists()
    assert not (place / "d/data/n1").is_symlink()


def test_fresh_helps_out_of_a_configuration_that_cannot_be_read(place: Path):
    prepared(Wish(nodes=1, directory=place / "d"))
    (place / "d/cluster.yaml").write_text("nodes: [")
    with pytest.raises(ConfigError, match=r"cluster\.yaml:2: not YAML"):
        prepared(Wish(directory=place / "d"))
    assert len(prepared(Wish(directory=place / "d", fresh=True), lambda text: True).settings.nodes) == 3


def test_fresh_in_a_new_place_asks_nothing(place: Path):
    prepared(Wish(directory=place / "d", fresh=True))


def test_a_directory_that_holds_something_else_is_left_alone(place: Path):
    (place / "photo.jpg").write_text("x")
    before = place.stat().st_mode
    with pytest.raises(ConfigError, match=r"photo\.jpg"):
        prepared(Wish(directory=place))
    assert place.stat().st_mode == before


def test_a_file_is_no_directory(place: Path):
    (place / "d").write_text("x")
    with pytest.raises(ConfigError, match="cannot use this run directory"):
        prepared(Wish(directory=place / "d"))


def test_a_second_supervisor_is_refused(place: Path):
    held = prepare(Wish(directory=place / "d"), {}, never)
    with pytest.raises(ConfigError, match="already running"):
        prepare(Wish(directory=place / "d"), {}, never)
    held.lock.release()
    prepared(Wish(directory=place / "d"))


def test_a_second_supervisor_of_one_configuration_is_refused(place: Path):
    file = prepared(Wish(nodes=1, directory=place / "d")).settings.path
    held = prepare(Wish(file=Path(file)), {}, never)
    with pytest.raises(ConfigError, match="already running"):
        prepare(Wish(file=Path(file)), {}, never)
    held.lock.release()


@pytest.mark.parametrize("wish", [Wish(nodes=3, file=Path("x.yaml")), Wish(fresh=True, file=Path("x.yaml"))])
def test_flags_of_a_run_directory_do_not_go_with_a_configuration(wish: Wish):
    with pytest.raises(ConfigError, match="is for a run directory"):
        prepared(wish)


def test_a_directory_too_deep_for_sockets_works_all_the_same(place: Path):
    deep = place / ("deep" * 30)
    node = prepared(Wish(nodes=1, directory=deep)).settings.nodes[0]
    assert len(node.peer.removeprefix("ipc://")) <= 100


def script(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_scripts_given_at_first_are_remembered_and_later_ones_count_for_that_run(place: Path):
    one, two = script(place / "one.sh"), script(place / "two.sh")
    first = prepared(Wish(directory=place / "d", scripts=Scripts(leader=one)))
    assert first.settings.hooks.leader == str(one)
    later = prepared(Wish(directory=place / "d", scripts=Scripts(leader=two)))
    assert config.load(later.settings.path, env=later.environment).hooks.leader == str(two)
    assert prepared(Wish(directory=place / "d")).settings.hooks.leader == str(one)


def test_a_script_is_remembered_by_its_whole_path(place: Path, monkeypatch: pytest.MonkeyPatch):
    script(place / "one.sh")
    monkeypatch.chdir(place)
    prepared(Wish(directory=place / "d", scripts=Scripts(leader=Path("one.sh"))))
    assert prepared(Wish(directory=place / "d")).settings.hooks.leader == f"{place}/one.sh"


def missing(path: Path) -> str:
    return "there is no such file"


def not_executable(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    return "is not executable"


def writable_by_others(path: Path) -> str:
    script(path).chmod(0o777)
    return "is writable by every user"


@pytest.mark.parametrize("unfit", [missing, not_executable, writable_by_others])
def test_a_script_that_cannot_run_is_refused_before_anything_is_made(place: Path, unfit: Callable[[Path], str]):
    path = place / "unfit.sh"
    why = unfit(path)
    for wish, env, name in (
        (Wish(directory=place / "d", scripts=Scripts(leader=path)), {}, "--leader-script"),
        (Wish(directory=place / "d", scripts=Scripts(follower=path)), {}, "--follower-script"),
        (Wish(directory=place / "d"), {"ZRAFT_HOOKS_LEADER": str(path)}, "ZRAFT_HOOKS_LEADER"),
        (Wish(directory=place / "d"), {"ZRAFT_SCRIPT_FOLLOWER_PATH": str(path)}, "ZRAFT_SCRIPT_FOLLOWER_PATH"),
    ):
        with pytest.raises(ConfigError) as raised:
            prepared(wish, env=env)
        (line,) = raised.value.mistakes
        assert line.startswith(f"{name}: {path}: ")
        assert why in line
    assert not (place / "d").exists()


def test_a_script_that_the_file_names_and_that_is_gone_is_refused_with_the_file(place: Path):
    path = script(place / "one.sh")
    file = prepared(Wish(directory=place / "d", scripts=Scripts(leader=path))).settings.path
    path.unlink()
    for wish in (Wish(directory=place / "d"), Wish(file=Path(file))):
        with pytest.raises(ConfigError, match=rf"^hooks\.leader: {path} \(in {file}\): there is no such file"):
            prepared(wish)


def test_what_is_wrong_with_a_new_cluster_is_found_before_the_old_one_is_deleted(place: Path):
    first = prepared(Wish(directory=place / "d"))
    with pytest.raises(ConfigError, match="--leader-script"):
        prepared(Wish(directory=place / "d", fresh=True, scripts=Scripts(leader=place / "none")))
    with pytest.raises(ConfigError, match="ZRAFT_LOG_LEVEL"):
        prepared(Wish(directory=place / "d", fresh=True), env={"ZRAFT_LOG_LEVEL": "LOUD"})
    assert prepared(Wish(directory=place / "d")).settings.cluster.id == first.settings.cluster.id


def test_a_variable_that_makes_no_sense_leaves_nothing_behind(place: Path):
    with pytest.raises(ConfigError, match="ZRAFT_HEARTBEAT_INTERVAL_MS"):
        prepared(Wish(directory=place / "d"), env={"ZRAFT_HEARTBEAT_INTERVAL_MS": "often"})
    assert not (place / "d").exists()


def test_a_flag_wins_over_both_names_of_the_variable(place: Path):
    one, two = script(place / "one.sh"), script(place / "two.sh")
    env = {"ZRAFT_SCRIPT_LEADER_PATH": str(two), "ZRAFT_HOOKS_LEADER": str(two)}
    launch = prepared(Wish(directory=place / "d", scripts=Scripts(leader=one)), env=env)
    assert config.load(launch.settings.path, env=launch.environment).hooks.leader == str(one)


def test_without_scripts_those_of_zraft_run_unless_the_environment_names_others(place: Path):
    ours, other = packaged_scripts(), script(place / "other.sh")
    launch = prepared(Wish(directory=place / "d"), env={"ZRAFT_SCRIPT_FOLLOWER_PATH": str(other)})
    hooks = config.load(launch.settings.path, env=launch.environment).hooks
    assert (hooks.leader, hooks.follower) == (str(ours.leader), str(other))


def test_the_environment_file_reaches_the_nodes_and_wins_over_the_environment(place: Path):
    (place / "env").write_text("# mine\nexport ZRAFT_APP_NAME='from-file'\nX=1\n")
    launch = prepared(
        Wish(directory=place / "d", env_file=place / "env"), env={"ZRAFT_APP_NAME": "from-outside", "Y": "2"}
    )
    assert launch.settings.cluster.name == "from-file"
    assert (launch.environment["X"], launch.environment["Y"]) == ("1", "2")


def test_one_listen_port_for_several_nodes_is_refused(place: Path):
    with pytest.raises(ConfigError, match="ZRAFT_CONTAINER_PORT: is the port of one node, and 3 would share it"):
        prepared(Wish(directory=place / "d"), env={"ZRAFT_CONTAINER_PORT": "9000"})


def test_an_environment_file_that_is_none_is_refused(place: Path):
    (place / "env").write_text("not an assignment\n")
    with pytest.raises(ConfigError, match="env:1"):
        prepared(Wish(directory=place / "d", env_file=place / "env"))


def test_clear_takes_those_who_joined_and_those_who_were_removed_and_no_stranger(place: Path):
    directory = RunDirectory(place / "d")
    launch = prepared(Wish(nodes=3, directory=directory.path))
    with_node(launch.settings, "extra", {})
    for name in ("n1", "n12", "extra", "notes"):
        (directory.path / "data" / name).mkdir()
    (directory.path / "log" / "extra.log").write_text("")
    directory.clear()
    assert os.listdir(directory.path / "data") == ["notes"]
    assert os.listdir(directory.path / "log") == []
    assert not directory.file.exists()


def test_clear_leaves_no_trace_of_the_cluster(place: Path):
    prepared(Wish(nodes=9, directory=place / "d"))
    directory = RunDirectory(place / "d")
    directory.clear()
    assert directory.nodes() == ()
