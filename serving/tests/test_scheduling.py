"""Who runs when, and with whom."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest

from slipway_serving.config import Batching
from slipway_serving.errors import DeadlineExceededError, InvalidInputError, OverloadedError, UnavailableError
from slipway_serving.runtimes.base import Inference
from slipway_serving.scheduling import ThreadScheduler, _expire, _Job
from slipway_serving.signature import Signature


class Gated:
    """Doubles its input, once the gate is open; refuses batches that hold a negative number."""

    signature = Signature()

    def __init__(self):
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.calls = []

    def infer(self, request):
        self.entered.set()
        self.gate.wait()
        x = request.inputs["x"]
        self.calls.append(len(x))
        if (x < 0).any():
            raise InvalidInputError("negative")
        return {"y": x * 2}

    def close(self):
        self.gate.set()


def rows(*values, width=1, **parameters):
    return Inference({"x": np.array([[value] * width for value in values], dtype=np.float32)}, (), parameters)


@asynccontextmanager
async def busy(batching):
    """A scheduler whose only instance is busy until the gate opens, and its model."""
    model = Gated()
    scheduler = ThreadScheduler(model, lambda *_: None, batching)
    first = scheduler.submit(rows(0))
    await asyncio.to_thread(model.entered.wait)
    yield scheduler, model
    model.gate.set()
    await first
    scheduler.close()


@pytest.fixture
async def gated():
    """A scheduler whose only instance is busy until the gate opens, and a list of what it observed."""
    model = Gated()
    observed = []
    scheduler = ThreadScheduler(model, lambda *seen: observed.append(seen), Batching(max_size=8, queue_size=10))
    first = scheduler.submit(rows(0))
    await asyncio.to_thread(model.entered.wait)
    yield scheduler, model, observed
    model.gate.set()
    await first
    scheduler.close()


async def test_what_queued_meanwhile_shares_one_call_and_everybody_gets_their_own_rows(gated):
    scheduler, model, observed = gated
    futures = [scheduler.submit(rows(1)), scheduler.submit(rows(2, 3)), scheduler.submit(rows(4))]
    assert scheduler.depth == 3
    model.gate.set()
    answers = [(await future)["y"].ravel().tolist() for future in futures]
    assert answers == [[2], [4, 6], [8]]
    assert model.calls == [1, 4]
    assert [seen[2] for seen in observed] == [1, 4]


async def test_a_batch_never_exceeds_its_size_but_a_large_request_runs_alone(gated):
    scheduler, model, _ = gated
    futures = [scheduler.submit(rows(*range(20))), scheduler.submit(rows(*range(5))), scheduler.submit(rows(*range(4)))]
    model.gate.set()
    answers = [len((await future)["y"]) for future in futures]
    assert answers == [20, 5, 4]
    assert model.calls == [1, 20, 5, 4]


async def test_only_equal_shapes_share_a_call_and_none_is_starved(gated):
    scheduler, model, _ = gated
    futures = [scheduler.submit(rows(index, width=1 + index % 2)) for index in range(6)]
    model.gate.set()
    answers = [(await future)["y"].shape for future in futures]
    assert answers == [(1, 1 + index % 2) for index in range(6)]
    assert model.calls == [1, 3, 3]


async def test_a_poisoned_request_fails_alone(gated):
    scheduler, model, _ = gated
    futures = [scheduler.submit(rows(value)) for value in (1, -1, 2)]
    model.gate.set()
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert answers[0]["y"].tolist() == [[2]]
    assert isinstance(answers[1], InvalidInputError)
    assert answers[2]["y"].tolist() == [[4]]


async def test_a_full_queue_refuses_and_a_cancelled_request_never_runs(gated):
    scheduler, model, _ = gated
    futures = [scheduler.submit(rows(index)) for index in range(10)]
    with pytest.raises(OverloadedError):
        scheduler.submit(rows(1))
    for future in futures[:9]:
        future.cancel()
    model.gate.set()
    assert (await futures[9])["y"].tolist() == [[18]]
    assert model.calls == [1, 1]


async def test_closing_refuses_what_waits_and_answers_what_runs(gated):
    scheduler, model, _ = gated
    waiting = scheduler.submit(rows(1))
    scheduler.close()
    with pytest.raises(UnavailableError):
        await waiting
    with pytest.raises(UnavailableError):
        scheduler.submit(rows(1))
    model.gate.set()


async def test_a_model_that_does_not_keep_rows_is_run_request_by_request():
    class Sum:
        signature = Signature()

        def infer(self, request):
            return {"y": request.inputs["x"].sum(keepdims=True)}

        def close(self):
            pass

    scheduler = ThreadScheduler(Sum(), lambda *_: None, Batching(max_size=8))
    futures = [scheduler.submit(rows(index, index)) for index in range(4)]
    assert [(await future)["y"].item() for future in futures] == [0, 2, 4, 6]
    scheduler.close()


async def test_several_instances_answer_everybody():
    model = Gated()
    model.gate.set()
    scheduler = ThreadScheduler(model, lambda *_: None, Batching(max_size=4), instances=3)
    futures = [scheduler.submit(rows(index)) for index in range(200)]
    assert [(await future)["y"].item() for future in futures] == [index * 2 for index in range(200)]
    scheduler.close()


async def test_a_higher_priority_goes_first_and_the_default_is_the_middle():
    async with busy(Batching(max_size=1, priority_levels=3)) as (scheduler, model):
        order = []
        futures = [scheduler.submit(rows(value, priority=value)) for value in (3, 0, 1, 2, 9)]
        for value, future in zip((3, 0, 1, 2, 9), futures, strict=True):
            future.add_done_callback(lambda _, value=value: order.append(value))
        model.gate.set()
        await asyncio.gather(*futures)
    assert order == [1, 0, 2, 3, 9]


@pytest.mark.parametrize("parameters", [{"priority": -1}, {"priority": "high"}, {"timeout": 1.5}, {"timeout": -1}])
async def test_a_priority_or_timeout_that_cannot_be_is_named(gated, parameters):
    with pytest.raises(InvalidInputError, match=f"parameters.{next(iter(parameters))} must be"):
        gated[0].submit(rows(1, **parameters))


async def test_a_request_that_waits_longer_than_its_timeout_hears_so_and_never_runs():
    async with busy(Batching(max_size=8)) as (scheduler, model):
        late, patient = scheduler.submit(rows(1, timeout=1000)), scheduler.submit(rows(2))
        with pytest.raises(DeadlineExceededError, match=r"longer than its timeout of 0.001 s"):
            await late
        model.gate.set()
        await patient
    assert model.calls == [1, 1]


async def test_what_runs_already_is_answered_after_its_timeout():
    job = _Job(rows(1), asyncio.get_running_loop().create_future(), 0.0)
    job.taken = True
    _expire(job, 0.001)
    assert not job.future.done()
    job.taken = False
    _expire(job, 0.001)
    assert isinstance(job.future.exception(), DeadlineExceededError)


@pytest.mark.parametrize("levels", [1, 3])
async def test_who_waits_no_more_leaves_the_queue_while_the_model_is_busy(levels):
    async with busy(Batching(queue_size=2, priority_levels=levels)) as (scheduler, _):
        gone, stays = scheduler.submit(rows(1)), scheduler.submit(rows(2))
        with pytest.raises(OverloadedError, match=r"2 requests wait"):
            scheduler.submit(rows(3))
        gone.cancel()
        assert scheduler.depth == 1
        later = scheduler.submit(rows(3))
        with pytest.raises(OverloadedError, match=r"2 requests wait"):
            scheduler.submit(rows(4))
        assert scheduler.depth == 2
        scheduler._runtime.gate.set()
        assert [(await each)["y"].item() for each in (stays, later)] == [4, 6]


async def test_a_batch_is_cut_to_a_preferred_size():
    async with busy(Batching(max_size=8, preferred_sizes=(2, 4))) as (scheduler, model):
        futures = [scheduler.submit(rows(value)) for value in range(7)]
        model.gate.set()
        answers = await asyncio.gather(*futures)
    assert [answer["y"].item() for answer in answers] == [0, 2, 4, 6, 8, 10, 12]
    assert model.calls == [1, 4, 2, 1]


async def test_with_a_delay_a_request_waits_for_others_until_a_preferred_size():
    model = Gated()
    model.gate.set()
    scheduler = ThreadScheduler(model, lambda *_: None, Batching(max_size=4, max_delay=60, preferred_sizes=(2,)))
    first = scheduler.submit(rows(1))
    await asyncio.sleep(0)
    second = scheduler.submit(rows(2))
    await asyncio.gather(first, second)
    assert model.calls == [2]
    scheduler.close()


async def test_a_request_of_many_rows_is_a_preferred_size_by_itself():
    model = Gated()
    model.gate.set()
    scheduler = ThreadScheduler(model, lambda *_: None, Batching(max_size=4, max_delay=60, preferred_sizes=(2,)))
    await scheduler.submit(rows(1, 2))
    assert model.calls == [2]
    scheduler.close()


async def test_a_delay_ends_by_itself():
    model = Gated()
    model.gate.set()
    scheduler = ThreadScheduler(model, lambda *_: None, Batching(max_size=4, max_delay=0.001))
    assert (await scheduler.submit(rows(1)))["y"].tolist() == [[2]]
    scheduler.close()


async def test_what_a_lost_worker_held_is_not_run_again():
    class Lost(Gated):
        def infer(self, request):
            super().infer(request)
            if len(self.calls) > 1:
                raise UnavailableError("its process is gone")

    model = Lost()
    scheduler = ThreadScheduler(model, lambda *_: None, Batching(max_size=8))
    scheduler.submit(rows(0))
    await asyncio.to_thread(model.entered.wait)
    futures = [scheduler.submit(rows(value)) for value in range(3)]
    model.gate.set()
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert all(isinstance(answer, UnavailableError) for answer in answers)
    assert model.calls == [1, 3]
    scheduler.close()
