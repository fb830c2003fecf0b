"""The guard: a small program beside each node that starts its scripts, reads them, and ends them.

It is started with ``python -S -E -s guard.py``, takes orders on standard input and reports on standard output (`wire`),
and is a process of its own so that a hung script cannot stop consensus and a node that dies cannot leave a script behind:
the pipe from the node is its lifeline. It runs one script at a time.

- A newer order ends a ``leader`` script that runs (SIGTERM, the grace, SIGKILL); a ``follower`` or ``stop`` script that
  cleans up is never cut short for it, and has until its own timeout.
- The next script starts only when nothing of the one before is left. Of several that wait, the newest is run.
- A script whose deadline or timeout passes is ended, whatever it is.
- When the pipe from the node closes, whatever runs is ended, nothing that waits is run, and the guard exits.

Nothing in the loop blocks: pipes are non-blocking, forking does not wait for exec, time comes from a timer on
CLOCK_BOOTTIME, and no file is read but those of ``/proc``, which are memory.
"""

import os
import select
import signal
import sys
import types
from typing import Any

if __name__ == "__main__":
    # Run as a program: `zraft` and `zraft.hooks` are made known as bare directories, so that the imports below load
    # those few files and not the packages, which would take ten times as long as all the rest.
    _HERE = os.path.dirname(os.path.abspath(__file__))
    for _name, _path in (("zraft", os.path.dirname(_HERE)), ("zraft.hooks", _HERE)):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [_path]
    sys.path.remove(_HERE)

from zraft.hooks import linux
from zraft.hooks.run import Run, kill_descendants
from zraft.hooks.wire import ORDERS, Decoder, Writer

READ_BYTES = 1 << 16
REPORT_BACKLOG_BYTES_MAX = 1 << 18
"""Beyond this, lines of output are dropped; other reports never are, and are few."""


class Guard:
    """The loop between the two pipes and the script.

    Parameters
    ----------
    orders, reports
        Descriptors of the pipes from and to the node, both non-blocking.
    """

    def __init__(self, orders: int, reports: int) -> None:
        self._orders = orders
        self._reports = reports
        self._decoder = Decoder(ORDERS)
        self._writer = Writer(reports, REPORT_BACKLOG_BYTES_MAX)
        self._poll = select.poll()
        self._timer = linux.BootTimer()
        self._wakeup, self._wakeup_end = os.pipe()
        """Becomes readable when a child has ended."""
        self._run: Run | None = None
        """The script that runs, or that something is left of."""
        self._waiting: dict[str, Any] | None = None
        """The newest `run` order that could not be carried out yet."""
        self._stopping = False
        """`stop` was ordered: exit once nothing runs or waits."""
        self._orphaned = False
        """The node is gone: end what runs, then exit."""
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._wakeup_end, False)
        signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        for descriptor in (orders, self._wakeup, self._timer.fileno()):
            self._poll.register(descriptor, select.POLLIN)
        self._poll.register(reports, 0)

    def serve(self) -> None:
        """Work until the node is gone or says stop, and nothing of a script is left."""
        self._writer.put({"kind": "ready", "pid": os.getpid()})
        while not self._finished():
            self._timer.set(self._run.due_ms() if self._run else None)
            if not self._orphaned:
                self._poll.modify(self._reports, select.POLLOUT if self._writer.backlog_bytes else 0)
            for descriptor, events in self._poll.poll():
                self._handle(descriptor, events)
            self._turn()

    def _finished(self) -> bool:
        if self._run is not None or self._waiting is not None:
            return False
        return self._orphaned or (self._stopping and not self._writer.backlog_bytes)

    def _handle(self, descriptor: int, events: int) -> None:
        if descriptor == self._orders:
            self._read_orders()
        elif descriptor == self._reports:
            self._writer.flush()
            if events & select.POLLERR:
                self._orphan()
        elif descriptor == self._wakeup:
            os.read(self._wakeup, READ_BYTES)
        elif self._run is not None:
            # The timer needs no reading: it is set anew in each turn, which makes it forget that it fired.
            self._run.readable(descriptor)

    def _turn(self) -> None:
        """After any event: carry on with what runs, and start what waits once it is over."""
        if self._run is not None:
            self._run.act(linux.boot_ms())
        if not self._reap() and self._run is not None:
            self._run.finish()
            self._run = None
        if self._writer.broken and not self._orphaned:
            self._orphan()
        if self._run is None and self._waiting is not None:
            self._start(self._waiting)

    def _reap(self) -> bool:
        """Collect the children that have ended; tell whether any live on."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if self._run is not None and pid == self._run.pid:
                self._run.exited(status)

    # Orders

    def _read_orders(self) -> None:
        try:
            data = os.read(self._orders, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._orphan()
            return
        orders, mistakes = self._decoder.feed(data)
        for mistake in mistakes:
            self._writer.put({"kind": "rejected", "reason": mistake})
        for order in orders:
            self._obey(order)

    def _obey(self, order: dict[str, Any]) -> None:
        kind = order["kind"]
        if kind == "ping":
            self._writer.put({"kind": "pong", "n": order["n"]})
        elif kind == "run":
            self._order_run(order)
        elif kind == "deadline":
            self._renew(order["seq"], order["deadline_ms"])
        elif kind == "end":
            self._end_leader("end")
        else:
            assert kind == "stop", f"an order that nobody carries out: {kind}"
            self._stopping = True
            self._end_leader("stop")

    def _order_run(self, order: dict[str, Any]) -> None:
        if self._stopping:
            self._skip(order, "stop")
            return
        if self._run is None and self._waiting is None:
            self._start(order)  # At once: another order that came with it shall find this one running, not waiting.
            return
        if self._waiting is not None:
            self._skip(self._waiting, "newer")
        self._waiting = order
        if self._run is not None and self._run.event == "leader":
            self._run.end("replaced")

    def _renew(self, seq: int, deadline_ms: int) -> None:
        if self._run is not None and self._run.seq == seq:
            self._run.deadline_ms = deadline_ms
        elif self._waiting is not None and self._waiting["seq"] == seq:
            self._waiting["deadline_ms"] = deadline_ms

    def _end_leader(self, reason: str) -> None:
        if self._waiting is not None and self._waiting["event"] == "leader":
            self._skip(self._waiting, reason)
            self._waiting = None
        if self._run is not None and self._run.event == "leader":
            self._run.end(reason)

    def _start(self, order: dict[str, Any]) -> None:
        self._waiting = None
        if order["deadline_ms"] is not None and order["deadline_ms"] <= linux.boot_ms():
            self._skip(order, "deadline")
            return
        try:
            self._run = Run(order, self._writer, self._poll)
        except OSError as error:
            reason = f"{order['argv'][0]}: cannot start another process: {error.strerror}"
            self._writer.put({"kind": "failed", "seq": order["seq"], "exit_code": None, "reason": reason})

    def _skip(self, order: dict[str, Any], reason: str) -> None:
        self._writer.put({"kind": "skipped", "seq": order["seq"], "reason": reason})

    def _orphan(self) -> None:
        """Forget what waits and end what runs, since the node is gone."""
        if self._orphaned:
            return
        self._orphaned = True
        self._poll.unregister(self._orders)
        self._poll.unregister(self._reports)
        self._waiting = None
        if self._run is not None:
            self._run.orphan()


def _take_pipes() -> tuple[int, int]:
    """Move the pipes out of the way of whatever prints, close all else, and return them as (orders, reports)."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    orders, reports = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    for descriptor in (orders, reports):
        os.set_blocking(descriptor, False)
    return orders, reports


def _heed_no_terminal() -> None:
    """Leave the order of a shutdown to the node: only the end of its pipe, or its `stop`, ends the guard.

    Handlers that do nothing, and not SIG_IGN, which a script would inherit.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda number, frame: None)


def main() -> int:
    """Serve one node on standard input and output; return the exit code."""
    if os.isatty(0):
        print("the hook guard is started by a node: zraft node run", file=sys.stderr)
        return 2
    orders, reports = _take_pipes()
    _heed_no_terminal()
    linux.become_subreaper()
    os.chdir("/")
    try:
        Guard(orders, reports).serve()
    except BaseException:
        _leave_nothing()
        raise
    return 0


def _leave_nothing() -> None:
    """Kill every descendant, and return when the last is gone: a guard that fails takes its script with it."""
    while True:
        kill_descendants()
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main())
