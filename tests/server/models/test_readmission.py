"""Who comes back after an engine's death, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

import pytest
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.errors import EngineLost, GenerationFailed, ModelLoadFailed
from tokenwire.server.models.readmission import Presence, Readmission

from ..scripted_engine import ScriptedEngine

NEEDED = 4


class Crowd:
    """Requests that take their turns, and engines that follow each other."""

    def __init__(self) -> None:
        self.readmission = Readmission("test", lambda: ModelLoadFailed("it cannot be loaded"))
        self.tasks: dict[Presence, asyncio.Task[Engine]] = {}
        self._left = dict[Presence, ExitStack]()
        self.engine: Engine | None = None

    async def start(self, num_requests: int) -> list[Presence]:
        """Has so many new requests ask for a turn."""
        come: list[Presence] = []
        for _ in range(num_requests):
            stack = ExitStack()
            presence = stack.enter_context(self.readmission.presence())
            self._left[presence] = stack
            self._ask(presence)
            come.append(presence)
        await self.settle()
        return come

    async def serve(self) -> None:
        """Another engine serves."""
        self.engine = ScriptedEngine()
        self.readmission.follow(self.engine)
        await self.settle()

    async def die(self) -> None:
        """The engine dies, and all whom it had ask for another turn."""
        present = self.present
        self.engine = None
        self.readmission.follow(None)
        for presence in present:
            self._ask(presence)
        await self.settle()

    async def give_up(self) -> None:
        """No other engine comes."""
        self.readmission.follow(None, has_ended=True)
        await self.settle()

    async def go_well(self, *presences: Presence) -> None:
        """The engine tells them enough."""
        for presence in presences:
            presence.record_tokens(NEEDED)
        await self.settle()

    async def leave(self, presence: Presence) -> None:
        """One has ended."""
        task = self.tasks.pop(presence)
        task.cancel()
        await asyncio.wait({task})
        self._left.pop(presence).close()
        await self.settle()

    @property
    def present(self) -> list[Presence]:
        """Who is on the engine that serves."""
        return [
            presence
            for presence, task in self.tasks.items()
            if task.done() and not task.exception() and task.result() is self.engine
        ]

    def failure_of(self, presence: Presence) -> BaseException | None:
        """The error that a turn ended with."""
        task = self.tasks[presence]
        return task.exception() if task.done() else None

    async def settle(self) -> None:
        """Lets every task go on as far as it can."""
        for _ in range(3):
            await asyncio.sleep(0)

    def _ask(self, presence: Presence) -> None:
        self.tasks[presence] = asyncio.create_task(presence.turn())

    async def close(self) -> None:
        for presence in list(self.tasks):
            await self.leave(presence)


@asynccontextmanager
async def crowd_of(num_requests: int) -> AsyncGenerator[tuple[Crowd, list[Presence]]]:
    """Requests on an engine that serves."""
    crowd = Crowd()
    await crowd.serve()
    yield crowd, await crowd.start(num_requests)
    await crowd.close()


async def test_all_pass_while_no_engine_has_died() -> None:
    """Without a death nobody waits for a turn."""
    async with crowd_of(9) as (crowd, requests):
        assert crowd.present == requests


async def test_one_two_four() -> None:
    """After a death they come back in growing numbers, each when those before have gone well."""
    async with crowd_of(9) as (crowd, _):
        await crowd.die()
        await crowd.serve()
        numbers: list[int] = []
        while len(crowd.present) < 9:
            new = crowd.present[sum(numbers) :]
            numbers.append(len(new))
            for presence in new[1:]:
                await crowd.go_well(presence)
            assert len(crowd.present) == sum(numbers)  # one has not gone well yet
            await crowd.go_well(new[0])
        assert [*numbers, 9 - sum(numbers)] == [1, 2, 4, 2]


async def test_newcomers_line_up_behind() -> None:
    """Who comes while others wait to come back waits behind them, and passes freely afterwards."""
    async with crowd_of(2) as (crowd, (first, second)):
        await crowd.die()
        await crowd.serve()
        (newcomer,) = await crowd.start(1)
        assert crowd.present == [first]
        await crowd.go_well(first)
        assert set(crowd.present) == {first, second, newcomer}
        await crowd.go_well(second, newcomer)
        (another,) = await crowd.start(1)
        assert another in crowd.present


async def test_one_that_ends_lets_the_next_ones_in() -> None:
    """A request that ends, or whose client leaves, holds nobody up: on the engine or in line."""
    async with crowd_of(5) as (crowd, requests):
        await crowd.die()
        await crowd.leave(requests[1])
        await crowd.serve()
        await crowd.leave(requests[0])
        assert crowd.present == requests[2:4]


@pytest.mark.parametrize("place", [0, 1, 6, 22, 50])
async def test_poison_is_found_and_the_others_are_not_failed(place: int) -> None:
    """One kills every engine that has it: it alone fails, the others see three deaths at most."""
    async with crowd_of(51) as (crowd, requests):
        poison = requests[place]
        good = {*requests} - {poison}
        await crowd.die()
        while crowd.failure_of(poison) is None:
            await crowd.serve()
            while poison not in crowd.present:
                await crowd.go_well(*crowd.present)
            await crowd.die()
        assert isinstance(crowd.failure_of(poison), GenerationFailed)
        await crowd.serve()
        while len(crowd.present) < len(good):
            await crowd.go_well(*crowd.present)
        assert {*crowd.present} == good
        assert max(each.num_deaths for each in good) <= 3


@pytest.mark.parametrize("num_tokens", [NEEDED, 3 * NEEDED, 20 * NEEDED])
async def test_poison_that_goes_well_for_a_while_is_found(num_tokens: int) -> None:
    """One that kills after some tokens is found, too: more are asked for after each death."""
    async with crowd_of(51) as (crowd, requests):
        poison, *good = requests
        num_deaths = 0
        while crowd.failure_of(poison) is None:
            for _ in range(num_tokens // NEEDED):
                await crowd.go_well(*crowd.present)
            while poison not in crowd.present:
                await crowd.go_well(*crowd.present)
            await crowd.die()
            num_deaths += 1
            assert num_deaths < 9
            await crowd.serve()
        assert isinstance(crowd.failure_of(poison), GenerationFailed)
        while len(crowd.present) < len(good):
            await crowd.go_well(*crowd.present)
        assert not any(map(crowd.failure_of, good))


async def test_two_poisons_are_found() -> None:
    """Two that kill are failed one after the other, and all others go on."""
    async with crowd_of(12) as (crowd, requests):
        poisons, good = {requests[3], requests[8]}, {*requests} - {requests[3], requests[8]}
        while not all(map(crowd.failure_of, poisons)):
            while not poisons & {*crowd.present}:
                await crowd.go_well(*crowd.present)
            await crowd.die()
            await crowd.serve()
        while len(crowd.present) < len(good):
            await crowd.go_well(*crowd.present)
        assert not any(map(crowd.failure_of, good))


async def test_engine_that_is_killed_again_and_again() -> None:
    """Deaths that no request is at fault for fail none, however many there are."""
    async with crowd_of(7) as (crowd, requests):
        for _ in range(6):
            while len(crowd.present) < 7:
                await crowd.go_well(*crowd.present)
            for _ in range(2000):
                for presence in crowd.present:
                    presence.record_tokens(NEEDED)
            await crowd.die()
            await crowd.serve()
        assert not any(map(crowd.failure_of, requests))


@pytest.mark.parametrize("has_gone_well", [False, True])
async def test_one_alone_at_two_deaths(has_gone_well: bool) -> None:
    """A request alone at two deaths is failed, unless it had gone well at the second."""
    async with crowd_of(1) as (crowd, (request,)):
        await crowd.die()
        await crowd.serve()
        if has_gone_well:
            await crowd.go_well(request)
        await crowd.die()
        await crowd.serve()
        failure = crowd.failure_of(request)
        assert (failure is None) == has_gone_well
        if not has_gone_well:
            assert isinstance(failure, GenerationFailed)
            assert "present at both deaths" in failure.message
            assert failure.metadata == {"num_engine_deaths": "2"}


async def test_next_engine_that_serves_before_anybody_asks() -> None:
    """Who learns of the death when the next engine serves already gets that one, and no blame."""
    async with crowd_of(1) as (crowd, (request,)):
        await crowd.settle()
        crowd.readmission.follow(None)
        await crowd.serve()
        crowd.readmission.follow(None)
        await crowd.serve()
        crowd._ask(request)
        await crowd.settle()
        assert crowd.present == [request]
        assert request.num_deaths == 1


async def test_no_other_engine() -> None:
    """Where no engine comes any more, who lost one hears so, and a newcomer why."""
    async with crowd_of(2) as (crowd, requests):
        await crowd.die()
        (waiting,) = await crowd.start(1)
        await crowd.give_up()
        (late,) = await crowd.start(1)
        for request in requests:
            assert isinstance(crowd.failure_of(request), EngineLost)
        for request in (waiting, late):
            assert isinstance(crowd.failure_of(request), ModelLoadFailed)


async def test_engine_that_lives_cannot_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that lost an engine which lives on ends with that."""
    monkeypatch.setattr("tokenwire.server.models.readmission._MAX_NEWS_DELAY_S", 0)
    async with crowd_of(1) as (_, (request,)):
        with pytest.raises(EngineLost):
            await request.turn()


async def test_slow_one_holds_up_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose prompt takes long lets the next ones in after a time, and is no less suspect."""
    monkeypatch.setattr("tokenwire.server.models.readmission._MAX_HOLD_UP_S", 0)
    async with crowd_of(3) as (crowd, (slow, *others)):
        await crowd.die()
        await crowd.serve()
        async with asyncio.timeout(45):
            while len(crowd.present) < 3:  # noqa: ASYNC110 - a timer of the loop
                await asyncio.sleep(0)
        await crowd.go_well(*others)
        await crowd.die()
        assert isinstance(crowd.failure_of(slow), GenerationFailed)
