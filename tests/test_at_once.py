from __future__ import annotations

import os
from functools import partial

import joblib
import numpy as np
import pytest

from art_plugins.at_once import at_once
from art_plugins.statistics.latents.latent_classes import cluster_latent_classes
from art_plugins.statistics.latents.scoring_settings import ScoringSettings


def test_calls_are_made_here_in_their_order_and_one_by_one():
    made = []
    results = at_once(partial(lambda number: made.append(number) or number, number) for number in range(5))
    assert next(results) == 0
    assert made == [0]
    assert list(results) == made[1:] == [1, 2, 3, 4]
    assert list(at_once([os.getpid])) == [os.getpid()]


def test_inside_a_configuration_of_joblib_others_make_the_calls_and_a_death_loses_nothing():
    dies_elsewhere = partial(eval, f"__import__('os').getpid() == {os.getpid()} or __import__('os')._exit(1)")
    with joblib.parallel_config("loky", n_jobs=2):
        assert os.getpid() not in set(at_once([os.getpid] * 4))
        with pytest.warns(UserWarning, match="one computes the rest"):
            assert list(at_once([partial(int, 7), *[dies_elsewhere] * 3, partial(int, 8)])) == [7, True, True, True, 8]


def test_a_backend_that_gives_all_results_at_the_end_makes_the_calls_as_well():
    """So does Ray's, which is made of this one."""
    with joblib.parallel_config("multiprocessing", n_jobs=2):
        assert list(at_once([partial(int, 7), partial(int, 8), partial(int, 9)])) == [7, 8, 9]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_windows", "settings"), [(0, ScoringSettings()), (3, ScoringSettings()), (0, ScoringSettings(scoring="paper"))]
)
def test_classes_that_two_processes_split_are_those_of_one(random, n_windows, settings):
    labels = np.arange(600) % 5
    views = [random.normal(size=(600, 12)).astype(np.float32) for _ in range(1 + n_windows)]
    views[-1][:50:5] += 5
    alone = cluster_latent_classes(views[0], labels, 5, windows=views[1:], settings=settings)
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        together = cluster_latent_classes(views[0], labels, 5, windows=views[1:], settings=settings)
    assert alone.suspects.any()
    np.testing.assert_array_equal(alone.soft_labels, together.soft_labels)
    assert alone.poisoned_classes == together.poisoned_classes


def test_a_worker_of_dask_hands_none_of_its_own_steps_to_the_cluster_again():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.Client(processes=False, n_workers=1, threads_per_worker=3, dashboard_address=None)
    with cluster, joblib.parallel_config("dask"):
        assert joblib.effective_n_jobs(None) == 3
        assert list(at_once([partial(joblib.effective_n_jobs, None)] * 2)) == [1, 1]
