"""Ray's workers, started on this machine."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mobilenas_tf.decisions import choices_at
from mobilenas_tf.search.joint_journal import Evaluation
from mobilenas_tf.search.ray_workers import ATTEMPTS, RayWorkers, ray_session
from mobilenas_tf.search.workers import Evaluate, InProcess, Order
from tests.small_joint_problem import evaluate, small_joint_problem

pytestmark = pytest.mark.slow

PROBLEM = small_joint_problem()
ORDERS = [
    Order(choices_at(PROBLEM.decisions, [(i + 0.5) / 16] * 6), epochs=1 + i % 5)
    for i in range(16)
]


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    with ray_session(None):
        yield


def by_key(evaluations: list[Evaluation]):
    return {PROBLEM.identity(each.choices): each for each in evaluations}


def slow_evaluate() -> Evaluate:
    def work(order: Order) -> Evaluation:
        time.sleep(0.2)
        return evaluate(order)

    return work


def suicidal_evaluate() -> Evaluate:
    """Returns what never survives the deepest network."""

    def work(order: Order) -> Evaluation:
        if order.choices["depth"] == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return evaluate(order)

    return work


def test_two_workers_give_what_this_process_gives():
    workers = RayWorkers(lambda: evaluate, count=2)
    found = by_key(list(workers.run(ORDERS)))
    assert len(set(workers.process_ids())) == 2
    assert found == by_key(list(InProcess(evaluate).run(ORDERS)))


def test_ray_leaves_the_answers_to_signals_to_the_program():
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_worker_killed_half_way_loses_nothing():
    workers, found = RayWorkers(slow_evaluate, count=2), []
    victim = workers.process_ids()[0]
    for evaluation in workers.run(ORDERS):
        found.append(evaluation)
        if len(found) == 5:
            os.kill(victim, signal.SIGKILL)
    assert by_key(found) == by_key(list(InProcess(evaluate).run(ORDERS)))
    assert len(found) == len(ORDERS)
    assert victim not in workers.process_ids()


def test_an_order_that_kills_its_workers_fails_and_the_others_are_done():
    found = by_key(list(RayWorkers(suicidal_evaluate, count=2).run(ORDERS)))
    assert len(found) == len(ORDERS)
    for each in found.values():
        died = f"its worker died {ATTEMPTS} times"
        assert each.failed == (died if each.choices["depth"] == 4 else "")


def test_a_caller_that_stops_leaves_idle_workers():
    workers = RayWorkers(slow_evaluate, count=2)
    running = workers.run(ORDERS)
    next(running)
    running.close()
    started = time.monotonic()
    assert len(workers.process_ids()) == 2
    assert len(list(workers.run(ORDERS[:2]))) == 2
    assert time.monotonic() - started < 60


def starts_at_most(count: int, folder: Path) -> Callable[[], Evaluate]:
    """Returns what makes so many evaluators, and fails from then on."""

    def make() -> Evaluate:
        number = len(list(folder.iterdir()))
        if number >= count:
            raise OSError("this machine is full")
        (folder / f"{number} {os.getpid()}").touch()
        return slow_evaluate()

    return make


def kill_first(workers: RayWorkers) -> None:
    os.kill(workers.process_ids()[0], signal.SIGKILL)


@pytest.mark.parametrize("reason", ["no room", "no start"])
def test_the_others_go_on_without_a_worker_that_cannot_be_replaced(
    reason: str, tmp_path: Path
):
    workers = RayWorkers(starts_at_most(2, tmp_path), count=2)
    if reason == "no room":
        workers._options = {"num_cpus": 10_000}
    kill_first(workers)
    assert len(by_key(list(workers.run(ORDERS)))) == len(ORDERS)
    assert len(by_key(list(workers.run(ORDERS[:3])))) == 3


@pytest.mark.parametrize("reason", ["no room", "no start"])
def test_without_any_worker_the_search_ends_rather_than_waits(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    workers = RayWorkers(starts_at_most(1, tmp_path), count=1)
    if reason == "no room":
        monkeypatch.setattr("mobilenas_tf.search.ray_workers._START_SECONDS", 3.0)
        workers._options = {"num_cpus": 10_000}
    kill_first(workers)
    with pytest.raises(ConnectionError, match="must have a machine .* it goes on"):
        list(workers.run(ORDERS))


def test_what_goes_wrong_in_a_worker_is_raised_here():
    def fails(order: Order) -> Evaluation:
        raise ValueError(f"nothing goes with {order.epochs}")

    with pytest.raises(ValueError, match=r"^nothing goes with \d$"):
        list(RayWorkers(lambda: fails, count=1).run(ORDERS))


def test_workers_that_do_not_start_are_an_error():
    def missing() -> Evaluate:
        raise FileNotFoundError("no data here")

    with pytest.raises(ConnectionError, match="ray_workers must have .*no data here"):
        RayWorkers(missing, count=1)


def test_another_server_is_no_cluster():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with (
            pytest.raises(
                ConnectionError,
                match="no Ray answers .what listens there is something else",
            ),
            ray_session(address),
        ):
            pass


def test_more_workers_than_processors_are_refused():
    with pytest.raises(ValueError, match=r"ray_workers must be at most \d+, .*=10000"):
        RayWorkers(lambda: evaluate, count=10_000)
    with pytest.raises(ValueError, match="at most 0, as Ray has .* of 1 .* 100 GPUs"):
        RayWorkers(lambda: evaluate, count=1, gpus=100)


def test_an_address_where_nothing_answers_is_refused_within_seconds(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    with (
        pytest.raises(
            ConnectionError, match=f"ray_address must be .*{address}, where no"
        ),
        ray_session(address),
    ):
        pass
    assert time.monotonic() - started < 10


def test_an_address_that_is_none_is_refused():
    with (
        pytest.raises(ValueError, match="ray_address must be HOST:PORT"),
        ray_session("somewhere"),
    ):
        pass
