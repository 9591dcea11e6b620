"""Workers as they are started, and schedulers that are not there."""

from __future__ import annotations

import pytest

from microbleeds.errors import UserError
from microbleeds.study.cluster import Resources, connect

pytest.importorskip("distributed")


def test_workers_have_one_thread_and_their_share_of_memory():
    with connect(Resources(workers=2, memory_limit_gb=1.5)) as connection:
        workers = connection.client.scheduler_info()["workers"].values()
        threads = connection.client.run(lambda: __import__("os").environ["OMP_NUM_THREADS"])
        assert connection.cores() == 2
        address = connection.client.scheduler.address
        with connect(Resources(scheduler=address)) as other:
            assert other.cores() == 2
    assert [(w["nthreads"], w["memory_limit"]) for w in workers] == [(1, 1_500_000_000)] * 2
    assert set(threads.values()) == {"1"}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_no_scheduler_gets_one_sentence(address, monkeypatch):
    monkeypatch.setattr("microbleeds.study.cluster._PATIENCE_S", 1)
    with (
        pytest.raises(UserError, match="No Dask scheduler answers"),
        connect(Resources(scheduler=address)),
    ):
        pass
