"""Deadlines: whoever is late is cancelled, whoever is not is left alone, and all share one timer."""

import asyncio

import pytest

from function.intake import Deadlines


async def late(deadlines: Deadlines, seconds: float) -> str:
    """Sleep with a deadline; return how it ended."""
    task = deadlines.begin()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if deadlines.passed(task):
            return "late"
        raise
    finally:
        deadlines.end(task)
    return "in time"


def test_who_is_late_is_cancelled() -> None:
    """Tasks that began at different times each have their own deadline."""

    async def run() -> list[str]:
        deadlines = Deadlines(0.2)
        first = asyncio.create_task(late(deadlines, 9))
        quick = asyncio.create_task(late(deadlines, 0))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(late(deadlines, 9))
        await first
        assert not second.done()
        return [first.result(), await quick, await second]

    assert asyncio.run(run()) == ["late", "in time", "late"]


def test_a_task_may_begin_again_after_all_have_ended() -> None:
    """A timer that finds nobody late leaves no task without a deadline later."""

    async def run() -> list[str]:
        deadlines = Deadlines(0.05)
        ends = [await late(deadlines, 0)]
        await asyncio.sleep(0.1)
        return [*ends, await late(deadlines, 9)]

    assert asyncio.run(run()) == ["in time", "late"]


def test_a_task_that_someone_else_cancels_is_not_late() -> None:
    """A cancellation from outside stays one, even where the deadline has passed, too."""

    async def run(pause_seconds: float) -> None:
        task = asyncio.create_task(late(Deadlines(0.05), 9))
        await asyncio.sleep(0)
        if pause_seconds:
            asyncio.get_running_loop().call_later(pause_seconds, task.cancel)
        else:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run(0))
    asyncio.run(run(0.01))
