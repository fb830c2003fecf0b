"""``scripts/examples/nginx`` with a real nginx, on free ports of loopback and in a directory of its own."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from awaiting import PATIENCE_S, eventually

sys.path.append(str(Path(__file__).parents[1] / "cluster"))
from cluster_rig import ZRAFT, Clusters

EXAMPLE = Path(__file__).parents[2] / "scripts" / "examples" / "nginx"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        NGINX is None, reason="NGINX IS NOT INSTALLED, so its example is not tested: apt-get install nginx-light"
    ),
]
NODES = ("n1", "n2", "n3")


class Service(ThreadingHTTPServer):
    """What runs beside a node: answers with the node's name."""

    def __init__(self, name: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()

    def end(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class Site:
    """An nginx with the example's configuration, and services for it to pass requests to."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.upstream = place / "conf.d" / "zraft-leader.conf"
        self.upstream.parent.mkdir()
        self.services = {name: Service(name) for name in NODES}
        self.map = place / "services"
        self.map.write_text("".join(f"{name} 127.0.0.1:{each.server_port}\n" for name, each in self.services.items()))
        self.port = free_port()
        shown = (EXAMPLE / "site.conf").read_text()
        assert "listen 127.0.0.1:8080;" in shown
        (place / "site.conf").write_text(shown.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}"))
        paths = "".join(
            f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.file = place / "nginx.conf"
        self.file.write_text(
            f"pid {place}/pid; error_log {place}/error.log; daemon off; worker_processes 1; events {{}}\n"
            f"http {{ access_log off; {paths} include conf.d/*.conf; include site.conf; }}\n"
        )
        self.call = f"{NGINX} -e {place}/error.log -p {place} -c {self.file}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What `follow-leader` is to know."""
        return {"NGINX_SERVICES": str(self.map), "NGINX_UPSTREAM": str(self.upstream), "NGINX": self.call}

    def start(self) -> None:
        self.process = subprocess.Popen(self.call.split())
        eventually("nginx answers", lambda: self.answer() is not None)

    def answer(self) -> str | None:
        """Return the name of the service that answers; None when none does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except (ConnectionError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def answers(self, name: str) -> None:
        """Wait until that service answers: nginx reloads by and by."""
        eventually(f"{name} answers", lambda: self.answer() == name)

    def follow(self, leader: str, term: int, code: int = 0) -> str:
        """Run `follow-leader` as `zraft leader` does; return what it says."""
        environment = os.environ | self.variables | {"ZRAFT_LEADER": leader, "ZRAFT_TERM": str(term)}
        done = subprocess.run(
            [EXAMPLE / "follow-leader"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == code, done
        assert sorted(path.name for path in self.upstream.parent.iterdir()) in ([], [self.upstream.name])
        return done.stderr if code else done.stdout

    def end(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)
        for service in self.services.values():
            service.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def site() -> Iterator[Site]:
    place = Path(tempfile.mkdtemp(prefix="zx", dir="/tmp"))
    made = Site(place)
    yield made
    made.end()
    shutil.rmtree(place)


def test_requests_go_to_the_service_of_the_leader(site: Site):
    assert "is it running?" in site.follow("n2", 1, code=1)
    site.start()
    site.answers("n2")
    for term, leader in enumerate(("n1", "n3", "n3", "n2"), 2):
        said = site.follow(leader, term)
        assert said == f"nginx: {leader}, term {term}, at 127.0.0.1:{site.services[leader].server_port}\n"
        site.answers(leader)


def test_a_check_that_fails_leaves_everything_as_it_was(site: Site):
    site.follow("n1", 3, code=1)
    site.start()
    before = site.upstream.read_bytes()
    site.map.write_text("n2 127.0.0.1:99999\n")
    said = site.follow("n2", 4, code=1)
    assert "invalid port" in said
    assert "nginx refuses the configuration with 127.0.0.1:99999" in said
    assert site.upstream.read_bytes() == before
    assert site.answer() == "n1"
    site.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    site.answers("n1")


def test_the_first_check_that_fails_leaves_no_file(site: Site):
    site.map.write_text("n2 127.0.0.1:99999\n")
    site.follow("n2", 4, code=1)
    assert not site.upstream.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:80;}", "a{b", "$host", "x;include", "`id`"])
def test_an_address_that_is_none_reaches_no_file(site: Site, address: str):
    site.map.write_text(f"n1 {address}\n")
    assert "is no address; write HOST:PORT" in site.follow("n1", 1, code=1)
    assert not site.upstream.exists()


def test_what_is_missing_is_named(site: Site):
    assert "no service of n9; add a line: n9 HOST:PORT" in site.follow("n9", 1, code=1)
    site.map.unlink()
    assert "services: cannot be read" in site.follow("n1", 1, code=1)
    assert "run me by: zraft leader --watch" in site.follow("", 1, code=1)


def test_an_older_leader_never_takes_the_place_of_a_newer_one(site: Site):
    site.follow("n1", 10, code=1)
    before = site.upstream.read_bytes()
    assert "is of term 10, and n2 led term 9" in site.follow("n2", 9, code=1)
    assert site.upstream.read_bytes() == before


def test_a_run_that_is_ended_in_the_middle_leaves_everything_as_it_was(site: Site):
    site.follow("n1", 1, code=1)
    before = site.upstream.read_bytes()
    slow = site.place / "slow"
    slow.write_text(f"#!/bin/sh\necho checks > {site.place}/checks\nexec sleep 60\n")
    slow.chmod(0o755)
    environment = os.environ | site.variables | {"ZRAFT_LEADER": "n2", "ZRAFT_TERM": "2", "NGINX": str(slow)}
    run = subprocess.Popen([EXAMPLE / "follow-leader"], env=environment, start_new_session=True)
    eventually("it checks", (site.place / "checks").exists)
    assert site.upstream.read_bytes() != before
    os.killpg(run.pid, signal.SIGTERM)
    assert run.wait(PATIENCE_S) == 1
    assert site.upstream.read_bytes() == before


def test_the_services_that_come_with_it_are_those_of_a_cluster_of_three():
    lines = (EXAMPLE / "services").read_text().splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("#")] == list(NODES)


def test_nginx_follows_the_leader_of_a_real_cluster(site: Site):
    """Whoever leads, through a handover, the leader's death, and a pause, requests reach its service."""
    clusters = Clusters(site.place)
    watch = None
    try:
        clusters.say("up", "--nodes", "3", "--detach")
        clusters.remember()
        watch = subprocess.Popen(
            [*ZRAFT, "leader", "--watch", "--", str(EXAMPLE / "follow-leader")],
            cwd=site.place,
            env=clusters.environment | site.variables,
        )
        eventually("the upstream is there", site.upstream.exists)
        site.start()
        first = clusters.leader()
        site.answers(first)
        second = next(name for name in NODES if name != first)
        clusters.run("leader", "--transfer", second)
        site.answers(second)
        clusters.say("kill", second)
        eventually("requests reach the leader's service", lambda: site.answer() == led_by(clusters))
        third = led_by(clusters)
        clusters.say("pause", str(third))
        eventually(
            "requests reach the next one's",
            lambda: third != led_by(clusters) is not None and site.answer() == led_by(clusters),
        )
        clusters.say("resume", str(third))
        assert re.search(rf"# term \d+, leader {led_by(clusters)}\n", site.upstream.read_text())
    finally:
        if watch is not None:
            watch.send_signal(signal.SIGINT)
            assert watch.wait(PATIENCE_S) == 130
        clusters.remember()
        clusters.say("down")
        clusters.destroy()


def led_by(clusters: Clusters) -> str | None:
    done = clusters.run("leader", code=None)
    return done.stdout.split()[0] if done.returncode == 0 else None
