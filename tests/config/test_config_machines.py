"""Which state machines of one's own a configuration names."""

import pytest


def test_there_are_none_unless_the_file_or_the_variable_names_them(load):
    assert load().machines == {}
    assert load("machines: {}\n").machines == load("machines:\n").machines == {}
    assert load('machines: {a: "pkg.mod:Class", b-2: "mod:Outer.Inner"}\n').machines == {
        "a": "pkg.mod:Class",
        "b-2": "mod:Outer.Inner",
    }


def test_the_variable_takes_the_place_of_the_whole_map(load):
    loaded = load("machines: {a: 'a:A'}\n", env={"ZRAFT_MACHINES": "{b: 'b:B'}"})
    assert loaded.machines == {"b": "b:B"}
    assert loaded.origins == {"machines": "ZRAFT_MACHINES"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("machines: [a]", "FILE:1: machines: must be a map (name: package.module:Class), not a list"),
        ("\nmachines:\n  a b: x:Y", "FILE:3: machines.a b: the name must be 1 to 64 of A-Z a-z 0-9 . _ -"),
        ("machines:\n  a: mod", "FILE:2: machines.a: must name a class as package.module:Class, not 'mod'"),
        ("machines:\n  a: 'x:'", "FILE:2: machines.a: must name a class as package.module:Class, not 'x:'"),
        ("machines:\n  a: ./x.py:Y", "FILE:2: machines.a: must name a class as package.module:Class, not './x.py:Y'"),
        ("machines: {a: 1}", "FILE:1: machines.a: must name a class as package.module:Class, not 1"),
        ("machines: {a: [1]}", "FILE:1: machines.a: must name a class as package.module:Class, not a list"),
        ("machine: {}", "FILE:1: machine: no such section (did you mean machines?); correct or remove it"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_line_its_name_and_what_to_do(refusal, text, expected):
    assert refusal(text + "\n") == [expected]


def test_a_mistake_in_the_variable_names_it(refusal):
    assert refusal(env={"ZRAFT_MACHINES": "{a: mod}"}) == [
        "ZRAFT_MACHINES: machines.a: must name a class as package.module:Class, not 'mod'"
    ]
    assert refusal(env={"ZRAFT_MACHINES": "{a"})[0].startswith("ZRAFT_MACHINES: not YAML")
    assert refusal(env={"ZRAFT_MACHINES": "7"}) == [
        "ZRAFT_MACHINES: machines: must be a map (name: package.module:Class), not 7"
    ]
