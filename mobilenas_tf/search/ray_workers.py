"""Candidates trained by Ray's actors, on this machine or a cluster's.

Nothing else imports Ray. Every actor makes its own evaluator, so that it reads the data
once.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from logging import WARNING
from typing import Any

from absl import logging

from mobilenas_tf.interruption import keep_handlers
from mobilenas_tf.search.joint_journal import WORKER_DIED, Evaluation
from mobilenas_tf.search.workers import Evaluate, Order

ATTEMPTS = 3  # of an order, before it counts as failed
_CONNECT_SECONDS = 5.0
_HEALTH_SECONDS = 30.0  # most of which Python takes to start
_START_SECONDS = 120.0  # of the actors, which import TensorFlow


class RayWorkers:
    """A pool of actors; an order whose actor dies goes to another one.

    A dead actor is replaced. Until its replacement has started, which takes a machine
    with room for it, the others go on without it.
    """

    def __init__(
        self,
        make_evaluate: Callable[[], Evaluate],
        *,
        count: int,
        cpus: int = 1,
        gpus: int = 0,
    ):
        """Starts the actors; `ray_session` must be open.

        Args:
            make_evaluate: Called once in each actor.
            count: Of actors.
            cpus: Processors that each has to itself.
            gpus: GPUs likewise; without any it sees none.

        Raises:
            ValueError: If Ray has fewer.
            ConnectionError: If actors do not start.
        """
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        there = ray.cluster_resources()
        if count > (most := _room(cpus, gpus)):
            raise ValueError(
                f"ray_workers must be at most {most}, as Ray has "
                f"{there.get('CPU', 0):g} processors and {there.get('GPU', 0):g} GPUs "
                "on all machines together. "
                f"Received: ray_workers={count} of {cpus} processors and {gpus} GPUs "
                "each"
            )
        self._make_evaluate = make_evaluate
        self._options = {"num_cpus": cpus, "num_gpus": gpus}
        self._actors = [self._start() for _ in range(count)]
        # Replacements that have not answered yet, by their answer: where a machine is
        # gone there may be no room for them.
        self._starting: dict[Any, Any] = {}
        try:
            self.process_ids(timeout=_START_SECONDS)
        except GetTimeoutError as error:
            raise ConnectionError(
                f"ray_workers must start within {_START_SECONDS} s; is the cluster "
                f"busy? Received: ray_workers={count}"
            ) from error
        except RayError as error:
            raise ConnectionError(
                "ray_workers must have this code, its packages and the data on their "
                f"machines. Received: {_last_line(error)}"
            ) from error

    def run(self, orders: Sequence[Order]) -> Iterator[Evaluation]:
        """Gives evaluations as they end.

        If the caller stops early, what runs is cancelled with its actors.

        Raises:
            ConnectionError: If no actor is left, and no replacement starts.
        """
        import ray
        from ray import exceptions

        deaths = (
            exceptions.RayActorError,
            exceptions.OutOfMemoryError,
            exceptions.NodeDiedError,
            exceptions.WorkerCrashedError,
        )
        waiting = [(order, 1) for order in reversed(orders)]
        starting = list(self._starting.values())
        idle = [actor for actor in self._actors if actor not in starting]
        running: dict[Any, tuple[Any, Order, int]] = {}
        try:
            while waiting or running:
                while waiting and idle:
                    actor, (order, attempt) = idle.pop(), waiting.pop()
                    running[actor.evaluate.remote(order)] = actor, order, attempt
                done = self._next_answer(list(running))
                if done in self._starting:
                    idle += self._started(done)
                    continue
                actor, order, attempt = running.pop(done)
                try:
                    evaluation: Any = ray.get(done)
                except exceptions.RayTaskError as error:
                    raise error.cause from error
                except deaths as error:
                    self._replace(actor)
                    logging.warning(
                        "A worker died (attempt %d of %d): %s",
                        *(attempt, ATTEMPTS, str(error).splitlines()[0]),
                    )
                    if attempt < ATTEMPTS:
                        waiting.append((order, attempt + 1))
                        continue
                    evaluation = Evaluation(
                        order.choices, (), f"{WORKER_DIED} {ATTEMPTS} times"
                    )
                else:
                    idle.append(actor)
                yield evaluation
        finally:
            for actor, _, _ in running.values():
                self._replace(actor)

    def process_ids(self, *, timeout: float | None = None) -> list[int]:
        """Returns the actors' process ids, on their machines.

        Args:
            timeout: Seconds to wait for them; None waits for ever.
        """
        import ray

        ids = [actor.process_id.remote() for actor in self._actors]
        return ray.get(ids, timeout=timeout)

    def _start(self) -> Any:
        import ray

        return ray.remote(_Actor).options(**self._options).remote(self._make_evaluate)

    def _replace(self, actor: Any) -> None:
        """Ends an actor and has a new one start in its place."""
        import ray

        ray.kill(actor)
        fresh = self._start()
        self._actors[self._actors.index(actor)] = fresh
        self._starting[fresh.process_id.remote()] = fresh

    def _next_answer(self, running: Sequence[Any]) -> Any:
        """Waits for an order's result or a replacement's first answer."""
        import ray

        answers = [*running, *self._starting]
        timeout = None if running else _START_SECONDS
        done, _ = ray.wait(answers, timeout=timeout) if answers else ([], [])
        if not done:
            raise ConnectionError(
                "ray_workers must have a machine to run on; all have died, and no "
                "other has started. Start the cluster anew and the same command again: "
                f"it goes on. Received: {len(self._starting)} that wait for room"
            )
        return done[0]

    def _started(self, answer: Any) -> list[Any]:
        """Returns the replacement that has answered, none if it could not start."""
        import ray
        from ray.exceptions import RayError

        actor = self._starting.pop(answer)
        try:
            ray.get(answer)
        except RayError as error:
            self._actors.remove(actor)
            logging.warning("A new worker did not start: %s", _last_line(error))
            return []
        return [actor]


def _room(cpus: int, gpus: int) -> int:
    """Returns how many actors of so many processors and GPUs find room in Ray."""
    import ray

    needs = [
        (kind, needed) for kind, needed in (("CPU", cpus), ("GPU", gpus)) if needed
    ]
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        min(int(machine.get(kind, 0)) // needed for kind, needed in needs)
        for machine in machines
    )


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


class _Actor:
    """Runs in a process of Ray's."""

    def __init__(self, make_evaluate: Callable[[], Evaluate]):
        self._evaluate = make_evaluate()

    def evaluate(self, order: Order) -> Evaluation:
        return self._evaluate(order)

    def process_id(self) -> int:
        import os

        return os.getpid()


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Opens Ray for the length of a `with` block.

    Args:
        address: `HOST:PORT` of a cluster's head; None starts Ray on this machine.

    Raises:
        ValueError: If Ray is not installed, or the address is none.
        ConnectionError: If nothing answers there.
    """
    _require_ray()
    import ray

    if address is not None:
        check_answers(address)
    with keep_handlers():  # Ray's own leaves the process without a word
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=WARNING,
        )
    try:
        yield
    finally:
        ray.shutdown()


def _require_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "workers must be process unless Ray is installed: pip install ray. "
            "Received: workers=ray"
        )


@functools.cache  # the answer takes seconds, and is wanted before the data, too
def check_answers(address: str) -> None:
    """Raises unless a cluster's head answers; Ray itself would try for minutes.

    Raises:
        ValueError: If the address is not HOST:PORT, or Ray is not installed here.
        ConnectionError: If no Ray answers there.
    """
    _require_ray()
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"ray_address must be HOST:PORT. Received: ray_address={address!r}"
        )
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        command = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
        subprocess.run(
            [*command, f"--address={address}"],
            check=True,
            capture_output=True,
            timeout=_HEALTH_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        is_other = isinstance(error, subprocess.SubprocessError)
        reason = "what listens there is something else" if is_other else error
        raise ConnectionError(
            "ray_address must be that of a running cluster's head. Received: "
            f"{address}, where no Ray answers ({reason})"
        ) from error
