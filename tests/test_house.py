"""The house stays tidy: who imports whom, how big things are, what is never called, what is never left lying about.

Each rule is a function that yields one line per place that breaks it, and says what to do instead.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "zraft"
FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 45
NESTING_MAX = 3


class Module(NamedTuple):
    """One file of the package, read and parsed."""

    name: str
    """Dotted, without ``zraft.``; empty for the package itself."""
    path: Path
    text: str
    tree: ast.Module

    @property
    def shown(self) -> str:
        return str(self.path.relative_to(ROOT))


def read(path: Path, text: str) -> Module:
    parts = path.relative_to(HOUSE).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, text, ast.parse(text))


MODULES = [read(path, path.read_text()) for path in sorted(HOUSE.rglob("*.py"))]
NAMES = {module.name for module in MODULES}
Rule = Callable[[list[Module]], Iterator[str]]

# -- who may import whom -----------------------------------------------------------------------------------------------

RAFT_STEPS = [
    {"types"},
    {"messages"},
    {"ready", "quorum", "membership", "changes", "log", "progress", "reads", "snapshots"},
    {"state", "writes"},
    {"roster"},
    {"handover"},
    {"follower", "candidate", "leader"},
    {"voter"},
    {"terms"},
    {"core"},
    {"invariants", "describe"},
]
"""A module of `raft/` may import those of the steps before its own."""

GROUND = {"seams", "config", "codec", "storage", "machines", "hooks", "events", "requests", "statepieces", "addresses"}
"""Rooms that see of `raft/` at most its nouns."""
NOUNS = {"raft.types", "raft.messages", "raft.ready"}
SOCKET_ROOMS = {
    "transport",
    "peerlinks",
    "node",
    "endpoints",
    "frames",
    "socketoptions",
    "client",
    "monitor",
    "supervisor",
    "cli.requirements",
}
"""On the server's side transport and node, with what they bind and send by; and whoever speaks to servers."""
HEART = {"replica", "serving", "admissions", "copies", "upkeep", "compaction"}
"""The replica, and what it is made of."""
UNSEEN: list[tuple[set[str], set[str]]] = [
    (
        GROUND,
        {*HEART, "node", "transport", "supervisor", "client", "monitor", "cli"},
    ),
    (
        HEART,
        {
            "transport",
            "node",
            "disk",
            "diskthread",
            "snapshotchild",
            "hugepages",
            "eventfile",
            "supervisor",
            "client",
            "monitor",
            "cli",
        },
    ),
    ({"transport", "peerlinks", "neighbours", "node"}, {"supervisor", "client", "monitor", "cli"}),
    ({"supervisor", "client", "monitor"}, {"raft.core", *HEART, "node", "cli"}),
]
"""Rooms, and what they must not see. `cli` is on top, and `simulation` supplies a world of its own."""


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Yield every name imported, absolute, as (dotted name, line)."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.shown}:{node.lineno}: relative import; write the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole.removeprefix("zraft.") in NAMES else str(node.module)), node.lineno


def own_imports(module: Module) -> Iterator[tuple[str, int]]:
    """Yield imports from this package, without ``zraft.``; `errors` may be imported everywhere."""
    for name, line in imports(module):
        if name.startswith("zraft.") and name != "zraft.errors":
            yield name.removeprefix("zraft."), line


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def import_directions(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        room = module.name.split(".")[0]
        for name, line in own_imports(module):
            if any(room in rooms and any(is_in(name, each) for each in unseen) for rooms, unseen in UNSEEN):
                yield f"{module.shown}:{line}: {room} must not see {name}"
            if room in GROUND and is_in(name, "raft") and name not in NOUNS:
                yield f"{module.shown}:{line}: {room} sees of raft at most {', '.join(sorted(NOUNS))}, not {name}"


def raft_imports(modules: list[Module]) -> Iterator[str]:
    """`raft/` imports the standard library, msgspec and itself, upwards only."""
    steps = {name: number for number, step in enumerate(RAFT_STEPS) for name in step}
    for module in modules:
        if not module.name.startswith("raft."):
            continue
        own = module.name.removeprefix("raft.")
        if own not in steps:
            yield f"{module.shown}: give it a place in RAFT_STEPS"
            continue
        for name, line in imports(module):
            top = name.split(".")[0]
            if top == "zraft":
                there = name.removeprefix("zraft.raft.")
                if steps.get(there, len(steps)) >= steps[own]:
                    yield f"{module.shown}:{line}: raft.{own} must not import {name}"
            elif top != "msgspec" and not is_standard(top):
                yield f"{module.shown}:{line}: raft imports msgspec and the standard library, not {name}"


def is_standard(top: str) -> bool:
    return top in sys.stdlib_module_names


def zmq_stays_outside(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for name, line in imports(module):
            if is_in(name, "zmq") and not any(is_in(module.name, room) for room in SOCKET_ROOMS):
                yield f"{module.shown}:{line}: only {', '.join(sorted(SOCKET_ROOMS))} import zmq"


def guard_stands_alone(modules: list[Module]) -> Iterator[str]:
    """`hooks/guard.py` loads the standard library and `hooks.wire` at once, and anything heavier when it is ready."""
    for module in modules:
        if module.name != "hooks.guard":
            continue
        for node in module.tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [f"{node.module}"] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if not is_standard(name.split(".")[0]) and not name.startswith("zraft.hooks"):
                    yield f"{module.shown}:{node.lineno}: the guard starts with the standard library alone, not {name}"


# -- sizes -------------------------------------------------------------------------------------------------------------

BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match)


def file_sizes(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        count = len(module.text.splitlines())
        if count > FILE_LINES_MAX:
            yield f"{module.shown}: {count} lines; files of one idea have at most {FILE_LINES_MAX}"


def function_sizes(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = code_lines(node)
                if count > FUNCTION_LINES_MAX:
                    yield f"{module.shown}:{node.lineno}: {node.name} has {count} lines, over {FUNCTION_LINES_MAX}"


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, its signature and docstring aside: those may take the room they need."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def nesting(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                depth = max((depth_of(child) for child in node.body), default=0)
                if depth > NESTING_MAX:
                    yield f"{module.shown}:{node.lineno}: {node.name} nests {depth} deep, over {NESTING_MAX}"


def depth_of(node: ast.AST) -> int:
    """How many blocks lie within each other; ``elif`` and the cases of a match add none."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return 0  # Counted by itself.
    own = isinstance(node, BLOCKS)
    deepest = 0
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        is_elif = field == "orelse" and isinstance(node, ast.If) and len(children) == 1
        for child in children:
            if isinstance(child, ast.AST):
                chained = is_elif and isinstance(child, ast.If)
                deepest = max(deepest, depth_of(child) - chained)
    return own + deepest


# -- banned calls ------------------------------------------------------------------------------------------------------

PURE_ROOMS = ("raft", "machines", *sorted(HEART), "storage", "addresses")
"""What a simulator runs: the world comes in through the seams alone."""
BANNED_IN_PURE = {
    "time.time": "the Clock seam",
    "time.sleep": "a deadline",
    "time.monotonic": "the Clock seam",
    "time.perf_counter": "the Clock seam",
    "datetime.datetime.now": "the Clock seam",
    "os.urandom": "the seeded Random that comes in",
    "uuid": "the seeded Random that comes in",
    "secrets": "the seeded Random that comes in",
    "threading": "the write queue seam",
    "asyncio": "the loop of node.py",
    "subprocess": "the guard",
    "socket": "the Network seam",
}
RANDOM_CLASS = "random.Random"
BANNED_EVERYWHERE = {
    "pickle": "msgspec",
    "marshal": "msgspec",
    "shelve": "msgspec",
    "dill": "msgspec",
    "yaml.load": "yaml.safe_load, or msgspec.yaml",
    "os.system": "an argument vector, without a shell",
    "os.popen": "an argument vector, without a shell",
}
BANNED_NAMES = {"eval": "msgspec", "exec": "nothing: code is not data"}
BANNED_METHODS = {"recv_pyobj": "recv_multipart and the codec", "send_pyobj": "send_multipart and the codec"}


def dotted(node: ast.AST, aliases: dict[str, str]) -> str | None:
    """Return ``a.b.c`` as it was imported, or None for anything else."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id)
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, aliases)
        return f"{before}.{node.attr}" if before else None
    return None


def aliases_of(module: Module) -> dict[str, str]:
    found = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def uses(module: Module) -> Iterator[tuple[str, int]]:
    """Yield every dotted name that is used, in terms of what was imported."""
    aliases = aliases_of(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute | ast.Name):
            name = dotted(node, aliases)
            if name is not None:
                yield name, node.lineno


def banned_calls(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for name, line in {*uses(module), *imports(module)}:
            for banned, instead in BANNED_EVERYWHERE.items():
                if is_in(name, banned):
                    yield f"{module.shown}:{line}: {name}; use {instead}"
        for node in ast.walk(module.tree):
            yield from (f"{module.shown}:{node.lineno}: {told}" for told in bad_call(node))


def bad_call(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    if isinstance(node.func, ast.Name) and node.func.id in BANNED_NAMES:
        yield f"{node.func.id}(); use {BANNED_NAMES[node.func.id]}"
    if isinstance(node.func, ast.Attribute) and node.func.attr in BANNED_METHODS:
        yield f"{node.func.attr}(); use {BANNED_METHODS[node.func.attr]}"
    if any(word.arg == "shell" and not is_false(word.value) for word in node.keywords):
        yield "shell=True; pass an argument vector"


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


FORKS = {"snapshotchild": "which is all that goes on without exec", "hooks.spawn": "which execs a script"}
"""Who may fork: a copy of the node that goes on holds its ports, locks and pipes."""


def forks(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for name, line in uses(module):
            if name in {"os.fork", "os.forkpty", "multiprocessing"} and module.name not in FORKS:
                yield f"{module.shown}:{line}: {name}; a process of its own, or one of {', '.join(sorted(FORKS))}"


def world_in_pure_rooms(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        if module.name.split(".")[0] not in PURE_ROOMS:
            continue
        for name, line in {*uses(module), *imports(module)}:
            for banned, instead in BANNED_IN_PURE.items():
                if is_in(name, banned):
                    yield f"{module.shown}:{line}: {name}; use {instead}"
            if name.startswith("random.") and name != RANDOM_CLASS:
                yield f"{module.shown}:{line}: {name}; use the seeded Random that comes in"


# -- what is never left lying about ------------------------------------------------------------------------------------

LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\bfor now\b|\btemporar(?:y|ily) hack\b")
"""What somebody meant to come back to."""
DRAWERS = {"utils", "util", "helpers", "helper", "manager", "managers", "misc", "common"}


def leftovers(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for number, line in enumerate(module.text.splitlines(), 1):
            found = LEFTOVERS.search(line)
            if found:
                yield f"{module.shown}:{number}: {found.group()!r}; do it, or write an issue"


def swallowed_exceptions(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler) and all(is_nothing(each) for each in node.body):
                yield f"{module.shown}:{node.lineno}: an exception is swallowed; handle it, or suppress() it by name"


def is_nothing(node: ast.stmt) -> bool:
    ellipsis = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass) or ellipsis


def broad_suppression(modules: list[Module]) -> Iterator[str]:
    """`contextlib.suppress` names what it expects: never everything."""
    for module in modules:
        aliases = aliases_of(module)
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call) or dotted(node.func, aliases) != "contextlib.suppress":
                continue
            if any(isinstance(arg, ast.Name) and arg.id in {"Exception", "BaseException"} for arg in node.args):
                yield f"{module.shown}:{node.lineno}: suppress(Exception) hides what nobody expected"


def drawers(modules: list[Module]) -> Iterator[str]:
    for path in [*(module.path for module in modules), *(ROOT / "tests").rglob("*.py")]:
        if DRAWERS & {*path.relative_to(ROOT).parts, path.stem}:
            yield f"{path.relative_to(ROOT)}: name it after its idea"


RULES: list[Rule] = [
    import_directions,
    raft_imports,
    zmq_stays_outside,
    guard_stands_alone,
    file_sizes,
    function_sizes,
    nesting,
    banned_calls,
    forks,
    world_in_pure_rooms,
    leftovers,
    swallowed_exceptions,
    broad_suppression,
    drawers,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_house_rule(rule: Rule) -> None:
    broken = sorted(set(rule(MODULES)))
    assert not broken, "\n" + "\n".join(broken)


# -- the rules themselves ----------------------------------------------------------------------------------------------

DEEP = "def deep(a):\n  for b in a:\n    if b:\n      while b:\n        with b:\n          b()\n"
PLANTED: list[tuple[Rule, str, str]] = [
    (import_directions, "codec.py", "from zraft.replica import Replica"),
    (import_directions, "storage/wal.py", "from zraft.raft.core import Raft"),
    (import_directions, "client/client.py", "from zraft.raft import core"),
    (import_directions, "replica.py", "import zraft.transport"),
    (import_directions, "node.py", "from zraft.cli.main import run"),
    (raft_imports, "raft/log.py", "from zraft.raft.leader import Leader"),
    (raft_imports, "raft/log.py", "from zraft.raft import reads"),
    (raft_imports, "raft/core.py", "import zmq"),
    (raft_imports, "raft/core.py", "from zraft.codec import Codec"),
    (raft_imports, "raft/novelty.py", ""),
    (zmq_stays_outside, "replica.py", "def late():\n  import zmq"),
    (guard_stands_alone, "hooks/guard.py", "import msgspec"),
    (file_sizes, "codec.py", "a = 1\n" * (FILE_LINES_MAX + 1)),
    (function_sizes, "codec.py", "def long():\n" + "  a = 1\n" * (FUNCTION_LINES_MAX + 1)),
    (nesting, "codec.py", DEEP),
    (banned_calls, "codec.py", "import pickle"),
    (banned_calls, "codec.py", "from yaml import load\nload(1)"),
    (banned_calls, "codec.py", "eval('1')"),
    (banned_calls, "codec.py", "socket.recv_pyobj()"),
    (banned_calls, "codec.py", "import subprocess as s\ns.run('ls', shell=True)"),
    (forks, "node.py", "import os\nos.fork()"),
    (forks, "disk.py", "from os import fork\nfork()"),
    (world_in_pure_rooms, "raft/core.py", "import time\ntime.time()"),
    (world_in_pure_rooms, "raft/core.py", "from time import sleep\nsleep(1)"),
    (world_in_pure_rooms, "machines/table.py", "import random\nrandom.random()"),
    (world_in_pure_rooms, "storage/wal.py", "import threading"),
    (world_in_pure_rooms, "replica.py", "import os\nos.urandom(8)"),
    (world_in_pure_rooms, "serving.py", "import uuid"),
    (leftovers, "codec.py", "a = 1  # TO" + "DO: more"),
    (leftovers, "codec.py", "# Good enough for" + " now."),
    (swallowed_exceptions, "codec.py", "try:\n  a()\nexcept OSError:\n  pass"),
    (swallowed_exceptions, "codec.py", "try:\n  a()\nexcept OSError:\n  ..."),
    (broad_suppression, "codec.py", "from contextlib import suppress\nwith suppress(Exception):\n  a()"),
    (drawers, "utils.py", ""),
    (drawers, "common/things.py", ""),
]


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_breach_is_found(rule: Rule, path: str, text: str) -> None:
    assert list(rule([read(HOUSE / path, text)]))


SOUND = """
import random


class Sound:
    def __init__(self, seeded: random.Random) -> None:
        self.seeded = seeded

    def choose(self, these: list[int]) -> int:
        for each in these:
            if each == 1:
                return 1
            elif each == 2:
                return 2
            elif each == 3:
                return 3
            elif each == 4:
                try:
                    return int(each)
                except ValueError:
                    return self.seeded.choice(these)
        return 0
"""


def test_sound_code_breaks_no_rule() -> None:
    assert not [broken for rule in RULES for broken in rule([read(HOUSE / "raft" / "log.py", SOUND)])]
