"""Plants known bugs, one at a time, in a copy of the tree, and shows who finds each.

    scripts/planted                              all of them
    scripts/planted no_noop vote_given_twice     these
    scripts/planted --sample 6                   as many, others every day
    scripts/planted --expected                   by the checks alone that are expected to
    scripts/planted --check simulator            by this check alone, whatever is expected

A bug is found by the first check that fails, those first that are expected to. Prints of each: the bug, who found it,
how many seeds or seconds it took, and the command that shows it again in a tree with that bug. Exit code 1 when one was
not found, or when a check fails without any bug.
"""

import argparse
import datetime
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import planted_checks
from planted_bug import ROOT, Bug, Misplaced, all_bugs
from planted_checks import CHECKS, Verdict

COPIED = ["zraft", "tests", "scripts", "config", "pyproject.toml"]


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    """Give a copy that may be changed, and is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="zraft-planted-") as folder:
        for name in COPIED:
            source, target = ROOT / name, Path(folder) / name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
        yield Path(folder)


def hunt(bug: Bug, names: Sequence[str]) -> list[Verdict]:
    """Plant `bug`, and run checks until one finds it; return how each ended."""
    verdicts = []
    with copy_of_the_tree() as tree:
        path = tree / bug.file
        path.write_text(bug.planted(path.read_text()))
        for name in names:
            verdicts.append(planted_checks.run(name, tree))
            if verdicts[-1].finding:
                break
    return verdicts


def try_sound(name: str) -> Verdict:
    """Run a check without any bug: were it to fail, its findings would be worth nothing."""
    with copy_of_the_tree() as tree:
        return planted_checks.run(name, tree)


def chosen(bugs: list[Bug], names: list[str], sample: int | None) -> list[Bug]:
    """Return the bugs asked for; a sample is as many in turn, so that a while of days sees all."""
    bugs = [bug for bug in bugs if not names or bug.name in names]
    if sample is None:
        return bugs
    first = datetime.datetime.now(datetime.UTC).toordinal() * sample
    return [bugs[(first + number) % len(bugs)] for number in range(min(sample, len(bugs)))]


def order(bug: Bug, check: str | None, *, expected: bool) -> list[str]:
    """Return the checks to try: what is expected to find it first, then by cost."""
    if check:
        return [check]
    return [*bug.checks, *(name for name in CHECKS if name not in bug.checks and not expected)]


def told(bug: Bug, verdicts: list[Verdict]) -> list[str]:
    """Return what to print of a bug."""
    last = verdicts[-1]
    took_s = sum(verdict.took_s for verdict in verdicts)
    found = last.finding
    if found is None:
        tried = ", ".join(f"{each.check}{f' ({each.trouble})' if each.trouble else ''}" for each in verdicts)
        return [f"{bug.name:36} NOT FOUND by {tried} in {took_s:.0f} s", f"    {bug.what}"]
    seeds = f"{found.seeds} seed{'s' if found.seeds != 1 else ''}, " if found.seeds is not None else ""
    where = found.where.split("::", 1)[-1]
    return [f"{bug.name:36} {last.check:10} {seeds}{last.took_s:.0f} s  {where}", f"    {found.replay}"]


def main() -> int:
    """Parse the arguments, plant, and tell; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--check", choices=list(CHECKS))
    parser.add_argument("--expected", action="store_true")
    parser.add_argument("--no-sound", action="store_true", help="do not run the checks without a bug first")
    args = parser.parse_args()
    unknown = set(args.names) - {bug.name for bug in all_bugs()}
    if unknown:
        parser.error(f"no planted bug is called {', '.join(sorted(unknown))}; see tests/planted/bugs")
    bugs = chosen(all_bugs(), args.names, args.sample)
    orders = [order(bug, args.check, expected=args.expected) for bug in bugs]
    needed = [name for name in CHECKS if any(name == names[0] for names in orders)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ThreadPoolExecutor(args.jobs) as pool:
        try:
            return campaign(pool, bugs, orders, [] if args.no_sound else needed)
        except Misplaced as error:
            parser.error(str(error))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            planted_checks.end_all()


def campaign(pool: ThreadPoolExecutor, bugs: list[Bug], orders: list[list[str]], needed: list[str]) -> int:
    """Try the checks that are `needed` without a bug, then plant bug after bug; return the exit code."""
    broken = [verdict for verdict in pool.map(try_sound, needed) if verdict.finding or verdict.trouble]
    for verdict in broken:
        print(f"{verdict.check} fails without any bug: {verdict.finding or verdict.trouble}", flush=True)
    if broken:
        return 1
    missed = 0
    for bug, verdicts in zip(bugs, pool.map(hunt, bugs, orders), strict=True):
        print("\n".join(told(bug, verdicts)), flush=True)
        missed += verdicts[-1].finding is None
    print(f"{len(bugs)} planted, {len(bugs) - missed} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
