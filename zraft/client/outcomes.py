"""What a call that was not answered is told: what happened to it, as far as anybody knows."""

from collections.abc import Callable

from zraft import requests
from zraft.client.calls import Call
from zraft.client.errands import Errand
from zraft.client.route import Route
from zraft.errors import InvalidRequest, OutcomeUnknown, Unavailable, ZraftError
from zraft.requests import Outcome


def unavailable(route: Route) -> Unavailable:
    """Say that nobody served it in time, and nothing happened."""
    advice = (
        "is the cluster running? zraft cluster up" if route.cut_off else "is a majority of the nodes up? zraft status"
    )
    return Unavailable(f"no node{route.whose} served it in time ({route.reasons()}); nothing happened; {advice}")


def unknown(route: Route) -> OutcomeUnknown:
    """Say that it was handed over and not answered in time."""
    return OutcomeUnknown(
        f"handed over and not answered in time ({route.reasons()}): it happened once or never; "
        "read it back, or repeat it if twice does no harm"
    )


def strange(reply: requests.Reply) -> str:
    """Say that a node's answer is none."""
    return f"a node gave an answer that makes no sense (outcome {reply.outcome}): is it of another version?"


def closed() -> Unavailable:
    """Say that the client was closed first."""
    return Unavailable("the client was closed before the call was carried out; nothing happened")


def closed_under_way() -> OutcomeUnknown:
    """Say that the client was closed after it was handed over."""
    return OutcomeUnknown("the client was closed while the command was under way: it happened once or never")


def interrupted() -> OutcomeUnknown:
    """Say that the thread which carried it was torn out of its work."""
    return OutcomeUnknown("the thread that carried the call was interrupted: it happened once or never")


def settle_queries(errand: Errand, reply: requests.Reply) -> list[Call]:
    """Settle the queries of `errand` by what a node answered; return those that must be asked again."""
    waiting = errand.waiting()
    if reply.outcome == Outcome.DONE and is_list(reply.result, len(errand.calls)):
        answered = zip(waiting, reply.result[errand.expired :], strict=True)
        return [call for call, answer in answered if not call.answer(answer, Unavailable)]
    if reply.outcome == Outcome.INVALID:
        fail(waiting, lambda: InvalidRequest(reply.message))
    else:
        fail(waiting, lambda: Unavailable(strange(reply)))
    return []


def is_list(result: object, length: int) -> bool:
    """Whether the result has an answer for each call."""
    return isinstance(result, list) and len(result) == length


def fail(calls: list[Call], why: Callable[[], ZraftError]) -> None:
    """Fail each of `calls` with an error of its own."""
    for call in calls:
        call.set_exception(why())
