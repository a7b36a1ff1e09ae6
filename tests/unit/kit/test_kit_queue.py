from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from slipway.kit.limits import TokenBucket
from slipway.kit.metrics import Metrics
from slipway.kit.queue import WorkQueue
from slipway.kit.testing import virtual_time

WORKERS = 3
KEYS = st.sampled_from("abcd")
DELAYS = st.floats(0, 5, allow_nan=False)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, DELAYS),
        st.tuples(st.just("low"), KEYS, DELAYS),
        st.tuples(st.just("after"), KEYS, DELAYS),
        st.tuples(st.just("failed"), KEYS, DELAYS),
        st.tuples(st.just("sleep"), KEYS, DELAYS),
    ),
    max_size=40,
)


@dataclass
class Workers:
    """They take keys, check that nobody else has them, and note when."""

    queue: WorkQueue[str]
    durations: list[float]
    busy: set[str] = field(default_factory=set)
    starts: dict[str, list[float]] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            key = await self.queue.get()
            assert key not in self.busy
            self.busy.add(key)
            self.starts.setdefault(key, []).append(asyncio.get_running_loop().time())
            await asyncio.sleep(self.durations[sum(map(len, self.starts.values())) % len(self.durations)])
            self.busy.remove(key)
            self.queue.done(key)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, durations=st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=5))
def test_no_key_is_worked_on_twice_at_once_and_none_is_lost(
    steps: list[tuple[str, str, float]], durations: list[float]
):
    @virtual_time
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(ageing=10.0)
        workers = Workers(queue, durations)
        tasks = [asyncio.create_task(workers.run()) for _ in range(WORKERS)]
        last_add: dict[str, float] = {}
        for action, key, delay in steps:
            if action == "sleep":
                await asyncio.sleep(delay)
                continue
            last_add[key] = asyncio.get_running_loop().time()
            if action == "after":
                queue.add_after(key, delay)
            elif action == "failed":
                queue.add_failed(key)
            else:
                queue.add(key, low=action == "low")
        await asyncio.sleep(1000)
        assert len(queue) == 0
        assert not workers.busy
        for key, when in last_add.items():
            assert workers.starts[key][-1] >= when
        for task in tasks:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        queue.close()

    scenario()


@virtual_time
async def test_a_key_added_many_times_is_handed_out_once():
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(5):
        queue.add("a")
    assert len(queue) == 1
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


@virtual_time
async def test_a_worker_that_is_cancelled_as_it_is_woken_loses_no_key():
    queue: WorkQueue[str] = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"
    assert first.cancelled()


@virtual_time
async def test_keys_that_take_no_time_leave_room_for_others():
    queue: WorkQueue[int] = WorkQueue()
    for number in range(100):
        queue.add(number)

    async def work() -> None:
        while True:
            queue.done(await queue.get())

    worker = asyncio.create_task(work())
    turns = 0
    while len(queue):
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 100
    worker.cancel()


@virtual_time
async def test_low_priority_gives_way_but_is_not_starved():
    queue: WorkQueue[str] = WorkQueue(ageing=30.0)
    queue.add("initial", low=True)
    queue.add("event")
    assert await queue.get() == "event"
    await asyncio.sleep(31)
    queue.add("later")
    assert await queue.get() == "initial"


@virtual_time
async def test_an_event_raises_a_waiting_key_of_low_priority():
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", low=True)
    queue.add("b", low=True)
    queue.add("b")
    queue.add("b", low=True)
    assert [await queue.get(), await queue.get()] == ["b", "a"]


@virtual_time
async def test_back_off_doubles_up_to_its_limit_and_ends_with_forget():
    queue: WorkQueue[str] = WorkQueue(base_delay=1.0, max_delay=5.0)
    assert [queue.add_failed("a") for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert queue.failures("a") == 5
    queue.forget("a")
    assert queue.add_failed("a") == 1.0
    queue.close()


@virtual_time
async def test_the_earliest_of_several_delays_counts_and_handing_out_cancels_it():
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 10)
    queue.add_after("a", 2)
    queue.add_after("a", 20)
    assert await queue.get() == "a"
    assert asyncio.get_running_loop().time() == 2
    queue.add_after("a", 5)
    queue.done("a")
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    await asyncio.sleep(30)
    assert len(queue) == 0


@virtual_time
async def test_many_failing_keys_come_ten_a_second():
    queue: WorkQueue[int] = WorkQueue(base_delay=0.001)
    delays = [queue.add_failed(number) for number in range(200)]
    assert delays[99] == 0.001
    assert abs(delays[199] - 10.0) < 0.01
    queue.close()


@virtual_time
async def test_metrics_have_controller_runtimes_names():
    metrics = Metrics()
    queue: WorkQueue[str] = WorkQueue("ms", metrics=metrics)
    queue.add("a")
    queue.add("b")
    await queue.get()
    await asyncio.sleep(3)
    text = generate_latest(metrics.registry).decode()
    for line in (
        'workqueue_depth{controller="ms",name="ms"} 1.0',
        'workqueue_adds_total{controller="ms",name="ms"} 2.0',
        'workqueue_unfinished_work_seconds{controller="ms",name="ms"} 3.0',
        'workqueue_longest_running_processor_seconds{controller="ms",name="ms"} 3.0',
        'workqueue_queue_duration_seconds_count{controller="ms",name="ms"} 1.0',
    ):
        assert line in text


def test_a_token_bucket_lets_a_burst_through_and_then_its_rate():
    bucket = TokenBucket(rate=2.0, burst=3)
    assert [bucket.reserve(100.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    assert bucket.reserve(200.0) == 0


def test_a_token_bucket_that_is_only_tried_keeps_no_debt():
    bucket = TokenBucket(rate=1.0, burst=2)
    assert [bucket.try_take(10.0) for _ in range(4)] == [True, True, False, False]
    assert bucket.try_take(11.0)
    assert not bucket.try_take(11.0)


@virtual_time
async def test_taking_a_token_waits():
    bucket = TokenBucket(rate=1.0, burst=1)
    for _ in range(4):
        await bucket.take()
    assert asyncio.get_running_loop().time() == 3.0
