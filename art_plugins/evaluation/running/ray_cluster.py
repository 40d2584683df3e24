"""The workers of a Ray cluster that runs already."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from art_plugins.evaluation.running.workers import CLOSE_S, NoAnswerError, StartedWorkers, no_cluster
from art_plugins.optional import import_optional

RAY_ANSWER_S = 15.0  # with the import of Ray


@contextmanager
def ray_workers(address: str, shared: Any) -> Iterator[StartedWorkers]:
    """Connect to all CPUs of a Ray cluster. A connection that is there already is used and stays open."""
    ray = import_optional("ray")
    from ray.util.joblib.ray_backend import RayBackend
    from ray.util.multiprocessing.pool import ResultThread

    class Backend(RayBackend):  # type: ignore[misc, no-any-unimported, unused-ignore]
        # Ray inherits "no" from multiprocessing, whose pool can deadlock; its own pool of actors gives results one by one.
        supports_return_generator = True

    logging.getLogger("ray.util.multiprocessing").setLevel(logging.ERROR)  # of an argument that joblib hands over
    connected_here = not ray.is_initialized()
    if connected_here:
        try:
            _check_ray_health(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError, NoAnswerError) as error:
            raise no_cluster("ray", address, error) from error
    errors = ray.exceptions
    try:
        yield StartedWorkers(
            lambda: {"backend": Backend(ray_remote_args={"num_cpus": 1}), "n_jobs": -1},
            ray.put(shared),
            ray.get,
            (errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError),
        )
    finally:
        if connected_here:
            # A thread that still waited for a result would connect anew, or start a Ray of its own.
            for thread in threading.enumerate():
                if isinstance(thread, ResultThread):
                    thread.join(CLOSE_S)
            ray.shutdown()


def _check_ray_health(address: str) -> None:
    """
    Run Ray's own check in a process of its own, since Ray ends a process that waits for a silent address.

    :raises NoAnswerError: If no head answers there, if it has another version of Ray or Python, or if it takes too long.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RAY_ANSWER_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoAnswerError(f"it took the connection and said nothing for {RAY_ANSWER_S:g} seconds") from error
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["it does not answer as Ray does"]
        raise NoAnswerError(words[-1])
