"""The loop of the monitor: wait for sockets and signals, show what has come, until somebody ends it."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import zmq

from zraft.config import Config
from zraft.events import Event
from zraft.monitor import lines, table
from zraft.monitor.feed import Feed
from zraft.monitor.newcomers import newcomers, told
from zraft.monitor.screen import Screen
from zraft.monitor.signals import Signals
from zraft.monitor.sources import Sources
from zraft.monitor.view import Row, View
from zraft.raft.types import NodeId
from zraft.requests import Status

_REDRAW_MIN_MS = 50
"""A role change is drawn at once, but no more often than this."""


class Display(Protocol):
    """Where the monitor shows things."""

    refresh_ms: float | None
    """How often `refresh` is wanted; None for never."""

    def event(self, event: Event) -> None:
        """Show one event."""

    def lost(self, node: NodeId, count: int) -> None:
        """Say that events of a node were missed for good."""

    def flush(self) -> None:
        """Let what was shown be seen: called once for all that came together."""

    def refresh(self, rows: Sequence[Row]) -> None:
        """Show the table as it is now."""


class Lines:
    """One line per event on standard output.

    Parameters
    ----------
    render
        Makes the line of an event.
    wants
        Which events get one.
    notice
        Makes the line that tells of lost events; None where the reader can tell from the sequence numbers.
    """

    refresh_ms: float | None = None

    def __init__(
        self,
        render: Callable[[Event], str],
        wants: Callable[[Event], bool],
        notice: Callable[[NodeId, int], str] | None = None,
    ) -> None:
        self._render, self._wants, self._notice = render, wants, notice

    def event(self, event: Event) -> None:
        """Print one line."""
        if self._wants(event):
            print(self._render(event))

    def lost(self, node: NodeId, count: int) -> None:
        """Print a notice."""
        if self._notice is not None:
            print(self._notice(node, count))

    def flush(self) -> None:
        """Flush."""
        sys.stdout.flush()

    def refresh(self, rows: Sequence[Row]) -> None:
        """Draw nothing: there is no table."""


class Drawing:
    """The table and the stream on a terminal."""

    def __init__(self, screen: Screen, width: int, refresh_ms: float) -> None:
        self._screen = screen
        self._width = width
        self.refresh_ms: float | None = refresh_ms

    def event(self, event: Event) -> None:
        """Add a line to the stream."""
        if lines.is_shown(event):
            self._screen.add(lines.as_text(event, self._width, brief=True))

    def lost(self, node: NodeId, count: int) -> None:
        """Add a notice to the stream."""
        self._screen.add(lost_notice(node, count))

    def flush(self) -> None:
        """Leave it to the next drawing."""

    def refresh(self, rows: Sequence[Row]) -> None:
        """Draw."""
        self._screen.draw(rows)


def lost_notice(node: NodeId, count: int) -> str:
    """Return the line that says that events were missed."""
    return f"({count} events of {node} were missed)"


def watch(
    config: Config, nodes: Sequence[NodeId], display: Display, *, tail: int, wants: Callable[[Event], bool]
) -> None:
    """Show events and table until SIGINT, SIGTERM or SIGHUP.

    Parameters
    ----------
    config, nodes
        Which nodes, and where.
    display
        Where to.
    tail
        How many of the past events of each node to show first.
    wants
        Which events count for `tail`.
    """
    view = View(nodes)
    sources = Sources(config, nodes, lambda: Feed(tail, wants))
    try:
        with Signals() as signals:
            sources.poller.register(signals.fd, zmq.POLLIN)
            everybody = len(nodes) == len(config.nodes)
            _Loop(view, sources, display, signals, everybody=everybody).run()
    finally:
        sources.close()


def picture(config: Config, answers: Mapping[NodeId, Status | None], *, colour: bool) -> list[str]:
    """Return the lines of the table that these answers of nodes make; None for a node that gave none."""
    view = View(list(answers))
    for name, status in answers.items():
        if status is not None:
            data = msgspec.to_builtins(status)
            view.see(Event(1, config.cluster.name, name, "", 1, 0, status.term, status.role, "status", data), 0)
    return table.lines(view.rows(0), colour=colour)


class _Loop:
    """One run of the monitor."""

    def __init__(self, view: View, sources: Sources, display: Display, signals: Signals, *, everybody: bool) -> None:
        self._everybody = everybody
        """Nodes that join are watched too."""
        self._view, self._sources, self._display, self._signals = view, sources, display, signals
        self._draw_at = _now_ms()
        self._drawn_at = -float("inf")

    def run(self) -> None:
        while not self._signals.ended:
            ready = self._sources.wait(self._timeout())
            if self._signals.take():
                self._draw_at = 0
            news = self._sources.take(ready, _now_ms())
            for item in news:
                if item.passage.lost:
                    self._display.lost(item.node, item.passage.lost)
                for position, event in enumerate(item.passage.events):
                    self._show(event, visible=position >= item.passage.hidden)
            if news:
                self._display.flush()
            self._refresh()

    def _show(self, event: Event, *, visible: bool) -> None:
        self._view.see(event, _now_ms())
        if visible:
            self._display.event(event)
        if event.kind == "status" and self._everybody:
            for node in newcomers(told(event.data), self._sources.nodes):
                self._sources.meet(node)
                self._view.meet(node.id)
        if event.kind in ("role", "stopping"):
            self._draw_at = min(self._draw_at, self._drawn_at + _REDRAW_MIN_MS)

    def _refresh(self) -> None:
        every = self._display.refresh_ms
        now = _now_ms()
        if every is not None and now >= self._draw_at:
            self._display.refresh(self._view.rows(now))
            self._drawn_at, self._draw_at = now, now + every

    def _timeout(self) -> int:
        """Milliseconds until something is due; a minute when nothing is: sockets and signals wake us before."""
        due = [60_000 + _now_ms()]
        if self._display.refresh_ms is not None:
            due.append(self._draw_at)
        if self._sources.deadline is not None:
            due.append(self._sources.deadline)
        return int(min(due) - _now_ms()) + 1


def _now_ms() -> float:
    return time.monotonic() * 1_000
