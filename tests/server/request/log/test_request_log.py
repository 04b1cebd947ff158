"""What lies between a request and its readers."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from tokenwire.server.contract.errors import EngineLost, ResumeExpired
from tokenwire.server.contract.events import (
    Delta,
    FinishReason,
    Prefill,
    TextDelta,
    TokenLogprob,
    TopLogprob,
)
from tokenwire.server.request.calls import CallFinished, CallStarted, Queued
from tokenwire.server.request.log.batch import Batch
from tokenwire.server.request.log.joined_deltas import join_deltas, num_bytes_of
from tokenwire.server.request.log.log_reader import LogReader
from tokenwire.server.request.log.request_log import MAX_BATCH_BYTES, RequestLog

from ...random_deltas import random_deltas, said

STARTED = CallStarted("r", "m", "", 1, 0, 5, None)
FINISHED = CallFinished(FinishReason.EOS, 1, 0, 2, 0, 0.0, 0.1, 0.1, 0.2)


def numbered(number: int) -> TextDelta:
    return TextDelta(f"{number},", 1, (number,))


def text_of(numbers: Iterable[int]) -> str:
    return "".join(f"{number}," for number in numbers)


async def take(reader: LogReader) -> Batch:
    """The next batch, where there is one."""
    batch = await reader.take()
    assert batch is not None
    return batch


async def take_text(reader: LogReader) -> str:
    """The text of the next batch, which holds text alone."""
    (delta,) = (await take(reader)).deltas
    assert isinstance(delta, TextDelta)
    return delta.text


async def test_events_pass_one_by_one_to_a_fast_reader() -> None:
    """A reader that keeps up gets every event by itself."""
    log = RequestLog()
    with log.read() as reader:
        log.append(STARTED)
        first = await take(reader)
        log.append(TextDelta("a", 1))
        second = await take(reader)
    assert first == Batch(0, started=STARTED)
    assert second == Batch(1, deltas=[TextDelta("a", 1)])


async def test_pending_deltas_are_joined() -> None:
    """Deltas that were not read in time become one, with nothing lost."""
    log = RequestLog()
    for number in range(1000):
        log.append(numbered(number))
    log.append(FINISHED)
    log.close()
    with log.read() as reader:
        batch = await take(reader)
        (delta,) = batch.deltas
        assert delta == TextDelta(text_of(range(1000)), 1000, tuple(range(1000)))
        assert batch.position == 1000
        assert batch.finished == FINISHED
        assert await reader.take() is None


async def test_only_the_latest_progress_is_kept() -> None:
    """Progress that was not read is replaced by newer progress, and dropped at the start."""
    log = RequestLog()
    with log.read() as reader:
        log.append(Queued(3, None))
        log.append(Queued(2, None))
        assert (await take(reader)).progress == Queued(2, None)
        log.append(Queued(1, None))
        log.append(STARTED)
        assert (await take(reader)).progress is None
        log.append(Prefill(1, 2))
        assert (await take(reader)).progress == Prefill(1, 2)


async def test_error_comes_after_what_was_before_it() -> None:
    """What was generated before a failure is still read; then the failure is raised."""
    log = RequestLog()
    log.append(TextDelta("a", 1))
    log.close(EngineLost())
    with log.read() as reader:
        assert (await take(reader)).deltas == [TextDelta("a", 1)]
        for _ in range(2):
            with pytest.raises(EngineLost):
                await reader.take()


async def test_first_close_counts() -> None:
    """A failure after the end changes nothing."""
    log = RequestLog()
    log.close()
    log.close(EngineLost())
    with log.read() as reader:
        assert await reader.take() is None
        assert await reader.take() is None


async def test_reader_that_stops_costs_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What 10,000 deltas say is copied twice at most, and kept as what it is, not as deltas."""
    num_copied = 0

    def counted(deltas: Iterable[Delta]) -> list[Delta]:
        nonlocal num_copied
        given = list(deltas)
        num_copied += sum(len(delta.text) for delta in given if isinstance(delta, TextDelta))
        return join_deltas(given)

    monkeypatch.setattr("tokenwire.server.request.log.request_log.join_deltas", counted)
    log = RequestLog()
    with log.read() as reader:
        for number in range(10_000):
            log.append(numbered(number))
        text = text_of(range(10_000))
        num_content_bytes = num_bytes_of(TextDelta(text, 10_000, tuple(range(10_000))))
        assert log.num_bytes < 1.5 * num_content_bytes
        batch = await take(reader)
        assert batch == Batch(10_000, deltas=[TextDelta(text, 10_000, tuple(range(10_000)))])
        assert num_copied <= 2 * len(text)
    assert log.num_bytes == 0


async def test_readers_stand_at_places_of_their_own() -> None:
    """What one reader has taken is kept for another, and dropped once both have."""
    log = RequestLog()
    with log.read() as fast, log.read() as slow:
        log.append(numbered(0))
        assert await take_text(fast) == "0,"
        for number in range(1, 200):
            log.append(numbered(number))
        assert await take_text(slow) == text_of(range(200))
        assert log.num_bytes > 0
        log.append(numbered(200))
        assert await take_text(fast) == text_of(range(1, 201))
        assert await take_text(slow) == "200,"
        assert log.num_bytes == 0


async def test_reader_leaves_and_comes_back() -> None:
    """Another reader goes on from where the last one was, and hears the start and the end anew."""
    log = RequestLog()
    with log.read() as reader:
        log.append(STARTED)
        log.append(numbered(0))
        position = (await take(reader)).position
    for number in range(1, 100):
        log.append(numbered(number))
    log.append(FINISHED)
    log.close()
    with log.read(after=position) as reader:
        batch = await take(reader)
        assert await reader.take() is None
    assert (batch.started, batch.finished, batch.position) == (STARTED, FINISHED, 100)
    assert said(batch.deltas)[0].text == text_of(range(1, 100))


async def test_what_was_taken_is_not_kept() -> None:
    """A reader that asks for what every reader has taken hears where it can go on."""
    log = RequestLog()
    with log.read() as reader:
        for number in range(3):
            log.append(numbered(number))
            await take(reader)
    with pytest.raises(ResumeExpired) as refused:
        log.read(after=1)
    assert refused.value.message == "position 1 is no longer kept, the oldest is 3"
    assert refused.value.metadata == {"oldest_position": "3"}
    log.append(numbered(3))
    with log.read(after=3) as reader:
        assert await take_text(reader) == "3,"


async def test_reader_of_no_log_is_not_waited_for() -> None:
    """A reader that was refused holds nothing back."""
    log = RequestLog()
    with log.read() as reader:
        log.append(numbered(0))
        await take(reader)
        with pytest.raises(ResumeExpired):
            log.read(after=0)
        log.append(numbered(1))
        await take(reader)
    assert log.num_bytes == 0


async def test_full_log_drops_the_oldest() -> None:
    """Over its bytes a log drops the oldest: the slow reader is told, the fast one goes on."""
    max_bytes = 50 * num_bytes_of(numbered(100))
    log = RequestLog(max_bytes)
    with log.read() as fast, log.read() as slow:
        log.append(STARTED)
        log.append(numbered(0))
        assert (await take(slow)).position == 1
        for number in range(1, 1000):
            log.append(numbered(number))
            assert log.num_bytes <= max_bytes
            assert said((await take(fast)).deltas)[0].text.endswith(f"{number},")
        with pytest.raises(ResumeExpired) as refused:
            await slow.take()
        oldest = int(refused.value.metadata["oldest_position"])
        assert 1000 - 50 <= oldest < 1000
        with log.read(after=oldest) as again:
            assert await take_text(again) == text_of(range(oldest, 1000))
        log.append(numbered(1000))
        assert await take_text(fast) == "1000,"


async def test_delta_over_the_bound_is_not_kept() -> None:
    """A bound holds also for one delta, and the log takes what comes behind it."""
    log = RequestLog(max_bytes=1000)
    with log.read() as reader:
        log.append(TextDelta("x" * 1000, 1))
        assert log.num_bytes == 0
        with pytest.raises(ResumeExpired):
            await reader.take()
    log.append(numbered(1))
    with log.read(after=1) as reader:
        assert await take_text(reader) == "1,"


async def test_positions_are_counted_by_the_log() -> None:
    """Every batch with deltas has a higher position: the number of the deltas up to its end."""
    log = RequestLog()
    positions: list[int] = []
    num_appended = 0
    with log.read() as reader:
        for num_deltas in (1, 5, 1, 200, 64, 2):
            for _ in range(num_deltas):
                log.append(numbered(num_appended))
                num_appended += 1
            positions.append((await take(reader)).position)
    assert positions == [1, 6, 7, 207, 271, 273]


@pytest.mark.parametrize("seed", range(40))
async def test_every_reader_gets_the_same_answer(seed: int) -> None:
    """However appends and takes of several readers alternate, each reads the whole answer."""
    chance = random.Random(seed)
    deltas = random_deltas(seed)
    eagerness = [chance.random() ** 3 for _ in range(3)]  # from always to hardly ever
    log = RequestLog()
    taken: list[list[Delta]] = [[], [], []]
    readers = [log.read() for _ in taken]
    for delta in deltas:
        log.append(delta)
        for reader, reads, eager in zip(readers, taken, eagerness, strict=True):
            if chance.random() < eager:
                reads.extend(await rest_of(reader, log.position))
    log.close()
    for reader, reads in zip(readers, taken, strict=True):
        if reader.position < log.position:
            reads.extend(await rest_of(reader, log.position))
        assert await reader.take() is None
    assert [said(reads) for reads in taken] == [said(deltas)] * 3
    assert [join_deltas(reads) for reads in taken] == [join_deltas(deltas)] * 3
    assert log.num_bytes == 0
    assert log.num_tokens == sum(choice.num_tokens for choice in said(deltas).values())


@pytest.mark.parametrize("seed", range(20))
async def test_reader_that_comes_and_goes_loses_nothing(seed: int) -> None:
    """One reader after another, each from where the last one left, read the whole answer."""
    chance = random.Random(seed)
    deltas = random_deltas(seed)
    log = RequestLog()
    position = 0
    taken: list[Delta] = []
    for delta in deltas:
        log.append(delta)
        if chance.random() < 0.2:
            with log.read(after=position) as reader:
                taken += await rest_of(reader, log.position)
                position = reader.position
    log.close()
    with log.read(after=position) as reader:
        while (batch := await reader.take()) is not None:
            taken += batch.deltas
    assert join_deltas(taken) == join_deltas(deltas)


async def rest_of(reader: LogReader, position: int) -> list[Delta]:
    """What a reader has not taken of a log that stands at `position`: one batch, well joined."""
    batch = await take(reader)
    assert batch.position == position == reader.position
    assert join_deltas(batch.deltas) == batch.deltas
    return batch.deltas


def likely(number: int) -> TextDelta:
    """A token with the 20 likeliest ones, which takes 3.6 KB of memory."""
    top = tuple(TopLogprob(place, -1.0, b"word") for place in range(20))
    return TextDelta("word ", 1, (number,), (TokenLogprob(number, -1.0, b"word ", top),))


async def test_large_backlog_comes_in_several_batches() -> None:
    """A reader that lags far gets batches of a bounded size, each with its own position."""
    log = RequestLog()
    batches: list[Batch] = []
    with log.read() as reader:
        log.append(STARTED)
        for number in range(1_000):
            log.append(likely(number))
        log.append(FINISHED)
        log.close()
        while (batch := await reader.take()) is not None:
            batches.append(batch)
    assert len(batches) > 3
    position = 0
    for batch in batches:
        (delta,) = batch.deltas
        assert isinstance(delta, TextDelta)
        assert num_bytes_of(delta) <= MAX_BATCH_BYTES
        position += delta.num_tokens
        assert batch.position == position
        assert (batch.finished is not None) == (position == 1_000)
        assert (batch.started is not None) == (batch is batches[0])
    assert position == 1_000
    assert log.num_bytes == 0


async def test_backlog_is_taken_by_readers_at_their_own_places() -> None:
    """What one reader has taken of a large backlog is kept for another that has not."""
    log = RequestLog()
    with log.read() as ahead, log.read() as behind:
        for number in range(1_000):
            log.append(likely(number))
        first = await take(ahead)
        assert first.position < 1_000
        assert (await take(behind)).position == first.position
        resumed = log.read(after=first.position)
        for reader in (ahead, behind, resumed):
            ids: list[int] = []
            while reader.position < 1_000:
                for delta in (await take(reader)).deltas:
                    assert isinstance(delta, TextDelta)
                    ids += delta.token_ids
            assert ids == list(range(first.position, 1_000))


async def test_large_pieces_are_not_joined_before_they_are_read() -> None:
    """Pieces of more than a part of a batch stay apart, so that a batch can end between them."""
    log = RequestLog()
    for _ in range(40):
        log.append(TextDelta("x" * 100_000, 1))
    with log.read() as reader:
        sizes = [num_bytes_of((await take(reader)).deltas[0]) for _ in range(4)]
    assert all(MAX_BATCH_BYTES // 2 < size <= MAX_BATCH_BYTES for size in sizes)
