"""The life of one node, told in virtual time with a process that is none."""

import errno
import itertools
import signal
from random import Random

from zraft.requests import Status
from zraft.supervisor.backoff import Backoff
from zraft.supervisor.member import Member, State


class FakeProcess:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.last_words = ""
        self.signals: list[int] = []

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def stopped(self) -> bool:
        return signal.SIGSTOP in self.signals


class Story:
    """A member, a clock, and its processes."""

    def __init__(self, hung_after_ms: float = 5_000) -> None:
        self.now = 0.0
        self.processes: list[FakeProcess] = []
        self.notes: list[str] = []
        self.spawn_error: OSError | None = None
        backoff = Backoff(200, 30_000, Random(7))
        self.member = Member(
            "n1", self._spawn, backoff, hung_after_ms=hung_after_ms, stop_ms=8_000, note=self.notes.append
        )
        self.member.start(self.now)

    def _spawn(self, node_id: str) -> FakeProcess:
        if self.spawn_error is not None:
            raise self.spawn_error
        self.processes.append(FakeProcess(100 + len(self.processes)))
        return self.processes[-1]

    @property
    def process(self) -> FakeProcess:
        return self.processes[-1]

    def die(self, code: int, words: str = "") -> None:
        self.process.returncode, self.process.last_words = code, words
        self.member.died(self.now)

    def answer(self, *, healthy: bool = True) -> None:
        status = Status("n1", "ipc://x", "follower", 1, "n2", None, 1, 1, 1, 0, 500, healthy, 1.0, self.process.pid)
        self.member.health.heard(status, self.now)

    def live(self, ms: float, *, healthy: bool = True) -> None:
        for _ in range(int(ms // 500)):
            self.now += 500
            self.answer(healthy=healthy)
            self.member.tick(self.now)

    def delay(self) -> float:
        assert self.member.deadline_ms is not None
        return self.member.deadline_ms - self.now

    def come_back(self) -> None:
        self.now += self.delay()
        self.member.tick(self.now)
        assert self.member.state is State.RUNNING


def test_a_node_that_dies_waits_longer_each_time():
    story = Story()
    delays = []
    for _ in range(4):
        story.die(-signal.SIGSEGV)
        assert story.member.state is State.BACKOFF
        delays.append(story.delay())
        story.come_back()
    assert all(later > 1.3 * earlier for earlier, later in itertools.pairwise(delays)), delays
    assert story.member.restarts == 4
    assert "killed by SIGSEGV" in story.notes[0]


def test_ten_healthy_seconds_make_the_next_delay_short_again():
    story = Story()
    for _ in range(4):
        story.die(1)
        story.come_back()
    story.live(11_000)
    story.die(1)
    assert story.delay() <= 240


def test_nine_healthy_seconds_do_not():
    story = Story()
    for _ in range(4):
        story.die(1)
        story.come_back()
    story.live(9_000)
    story.die(1)
    assert story.delay() > 2_000


def test_ten_seconds_with_an_unhealthy_moment_in_them_do_not_either():
    story = Story()
    for _ in range(4):
        story.die(1)
        story.come_back()
    story.live(6_000)
    story.live(500, healthy=False)
    story.live(6_000)
    story.die(1)
    assert story.delay() > 2_000


def test_a_death_by_command_comes_back_after_the_shortest_delay_and_raises_nothing():
    story = Story()
    for _ in range(6):
        story.member.kill(story.now)
        assert signal.SIGKILL in story.process.signals
        story.die(-signal.SIGKILL)
        assert story.delay() == 200
        story.come_back()
    story.die(1)
    assert story.delay() <= 240


def test_a_death_by_command_does_not_forgive_earlier_ones():
    story = Story()
    for _ in range(4):
        story.die(1)
        story.come_back()
    story.member.kill(story.now)
    story.die(-signal.SIGKILL)
    assert story.delay() == 200
    story.come_back()
    story.die(1)
    assert story.delay() > 2_000


def test_configuration_and_storage_errors_are_not_tried_again():
    for code, words in ((2, "n1: port 7101 is in use"), (5, "segment 3 is damaged")):
        story = Story()
        story.die(code, words)
        assert (story.member.state, story.member.reason) == (State.FAILED, words)
        assert story.member.deadline_ms is None
        assert words in story.notes[-1]
        story.now += 3_600_000
        story.member.tick(story.now)
        assert story.member.state is State.FAILED


def test_a_failed_node_can_be_started_by_hand():
    story = Story()
    story.die(2, "wrong")
    story.member.start(story.now)
    assert (story.member.state, story.member.reason, story.member.restarts) == (State.RUNNING, "", 0)


def test_a_full_disk_is_tried_again_every_thirty_seconds():
    story = Story()
    for _ in range(3):
        story.die(5, "cannot write segment 3: No space left on device")
        assert (story.member.state, story.delay()) == (State.BACKOFF, 30_000)
        story.come_back()
    story.die(1)
    assert story.delay() <= 240  # Those attempts raised nothing.


def test_a_stopped_node_stays_down():
    story = Story()
    story.member.stop(story.now)
    assert story.process.signals[0] == signal.SIGTERM
    story.die(0)
    assert story.member.state is State.STOPPED
    assert story.member.deadline_ms is None


def test_stop_in_back_off_cancels_the_restart():
    story = Story()
    story.die(1)
    story.member.stop(story.now)
    assert (story.member.state, story.member.deadline_ms) == (State.STOPPED, None)


def test_a_stop_that_is_not_obeyed_is_enforced_once():
    story = Story()
    story.member.stop(story.now)
    story.now += 7_999
    story.member.tick(story.now)
    assert signal.SIGKILL not in story.process.signals
    story.now += 1
    story.member.tick(story.now)
    assert story.process.signals[-1] == signal.SIGKILL
    assert story.member.deadline_ms is None
    story.die(-signal.SIGKILL)
    assert story.member.state is State.STOPPED


def test_asking_twice_to_stop_does_not_put_the_deadline_off():
    story = Story()
    story.member.stop(story.now)
    story.now += 5_000
    story.member.stop(story.now)
    assert story.delay() == 3_000


def test_a_restart_by_command_starts_at_once():
    story = Story()
    story.member.restart(story.now)
    story.die(0)
    assert (story.member.state, story.member.restarts, len(story.processes)) == (State.RUNNING, 1, 2)


def test_a_node_that_does_not_answer_is_restarted_with_the_reason():
    story = Story(hung_after_ms=5_000)
    story.live(2_000)
    story.now += 5_000
    story.member.tick(story.now)
    assert signal.SIGKILL in story.process.signals
    assert "n1 has not answered for 5.0 s" in story.notes[-1]
    story.die(-signal.SIGKILL)
    assert (story.member.state, story.member.reason) == (State.BACKOFF, "hung")


def test_a_node_that_calls_itself_unhealthy_is_restarted_with_the_reason():
    story = Story(hung_after_ms=5_000)
    story.live(2_000)
    story.live(4_500, healthy=False)
    assert signal.SIGKILL not in story.process.signals
    story.live(500, healthy=False)
    assert signal.SIGKILL in story.process.signals
    assert "has called itself unhealthy for 5.0 s" in story.notes[-1]


def test_a_node_that_reads_a_long_log_is_given_time_before_its_first_answer():
    story = Story(hung_after_ms=5_000)
    story.now += 29_000
    story.member.tick(story.now)
    assert story.process.signals == []
    story.now += 1_000
    story.member.tick(story.now)
    assert signal.SIGKILL in story.process.signals


def test_a_paused_node_is_not_hung_and_its_pause_does_not_count_afterwards():
    story = Story(hung_after_ms=5_000)
    story.live(1_000)
    story.member.pause()
    assert (story.member.state, story.member.deadline_ms) == (State.PAUSED, None)
    story.now += 60_000
    story.member.tick(story.now)
    story.member.resume(story.now)
    assert story.process.signals == [signal.SIGSTOP, signal.SIGCONT]
    assert story.delay() == 5_000


def test_a_paused_node_can_be_stopped_and_killed():
    for end in (Member.stop, Member.kill, Member.restart):
        story = Story()
        story.member.pause()
        end(story.member, story.now)
        assert story.process.signals[-1] == signal.SIGCONT  # SIGTERM alone would wait for the pause to end.


def test_time_in_which_the_supervisor_itself_did_not_run_is_forgiven():
    story = Story(hung_after_ms=5_000)
    story.live(1_000)
    story.now += 600_000
    story.member.health.forgive(story.now)
    story.member.tick(story.now)
    assert story.process.signals == []


def test_a_process_that_cannot_be_started_is_tried_again():
    story = Story()
    story.spawn_error = OSError(errno.EAGAIN, "Resource temporarily unavailable")
    story.die(1)
    first = story.delay()
    story.now += first
    story.member.tick(story.now)
    assert story.member.state is State.BACKOFF
    assert "Resource temporarily unavailable" in story.member.reason
    story.spawn_error = None
    story.come_back()


def test_abort_leaves_it_down():
    story = Story()
    story.member.abort(story.now)
    assert story.process.signals[0] == signal.SIGKILL
    story.die(-signal.SIGKILL)
    assert story.member.state is State.STOPPED
