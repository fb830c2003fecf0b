"""The state machines that a configuration names, imported and made: users mount their own beside those that zraft comes with."""

import importlib
from collections.abc import Callable, Container
from typing import Any

from zraft.config import Config
from zraft.errors import ConfigError
from zraft.machines.failures import SHOWN_MAX, let_interrupts_pass, told
from zraft.machines.machine import StateMachine
from zraft.printable import one_line

_METHODS = ("apply", "query", "snapshot", "restore")


def own_machines(config: Config, taken: Container[str]) -> dict[str, StateMachine]:
    """Return a machine of each class that the configuration names, empty, by name.

    Parameters
    ----------
    config
        Its `machines` say which.
    taken
        Names that are not to be had.

    Raises
    ------
    ConfigError
        With a line for each one that cannot be had.
    """
    machines: dict[str, StateMachine] = {}
    mistakes = []
    for name, path in config.machines.items():
        try:
            if name in taken:
                raise _Unfit("zraft has a machine of that name itself; choose another")
            machines[name] = _made(path)
        except _Unfit as why:
            mistakes.append(f"{config.origins.get('machines', config.path)}: machines.{name}: {why}")
    if mistakes:
        raise ConfigError(*mistakes)
    return machines


def made(path: str) -> StateMachine:
    """Return a machine of the class that ``pkg.mod:Class`` names, empty, for whoever tests it by itself.

    Raises
    ------
    ConfigError
        It cannot be had.
    """
    try:
        return _made(path)
    except _Unfit as why:
        raise ConfigError(str(why)) from why


def describer(machine: StateMachine) -> Callable[[bytes], str] | None:
    """Return what says on one line what a command of `machine` does: its method `describe`, if it has one; never raises."""
    describe = getattr(machine, "describe", None)
    if not callable(describe):
        return None

    def described(command: bytes) -> str:
        try:
            return one_line(str(describe(command))[:SHOWN_MAX])
        except BaseException as error:  # noqa: BLE001 - what a command is called must not stop a node
            let_interrupts_pass(error)
            return f"{len(command)} B that describe() fails at: {type(error).__name__}"

    return described


class _Unfit(Exception):
    """Says why a class cannot be mounted."""


def _made(path: str) -> StateMachine:
    module_name, colon, class_name = path.partition(":")
    if not (module_name and colon and class_name):
        raise _Unfit(f"{path!r} names no class; write pkg.mod:Class")
    found: Any = _imported(module_name)
    for part in class_name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise _Unfit(f"the module {module_name} has no {class_name}; correct the name")
    try:
        machine: StateMachine = found()
    except Exception as error:
        raise _Unfit(f"{path}() cannot be made: {told(error)}; a machine is made without arguments") from error
    missing = [method for method in _METHODS if not callable(getattr(machine, method, None))]
    if missing:
        raise _Unfit(f"{path} is no state machine: it lacks {', '.join(missing)}; see zraft.machines.machine")
    return machine


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise _Unfit(f"there is no module {error.name}; install it, or put its directory on PYTHONPATH") from error
        raise _Unfit(f"the module {name} cannot be imported: {told(error)}; install that too") from error
    except Exception as error:
        raise _Unfit(f"the module {name} cannot be imported: {told(error)}; correct it") from error
