"""Files one after the other to an ear that listens: in order, again when it was lost, and to an end."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from fadeout_device.errors import UnavailableError
from fadeout_device.replaying.performance import Performance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fadeout_device.replaying.events import Event, Stream

Line = dict[str, Any]

LISTENING = {"type": "listening", "source": "loop", "rate_hz": 16_000, "channels": 1}
OPENED = {"type": "opened", "duration_s": 1.0}
MARK = {"type": "sound", "sample": 16_000}
PLAYED = {"type": "played", "samples": 16_000}
MUTED = {
    "type": "utterance", "start_s": 2, "wake_s": 2, "speech_start_s": 2, "speech_end_s": 2,
    "told": {"what": "muted"},
}  # fmt: skip


def heard(sample: int = 1_000_000, overflows: int = 0) -> Line:
    return {
        "type": "heard", "sample": sample, "idle": True,
        "overflows": overflows, "behind": 0, "reopened": 0, "clipped": 0,
    }  # fmt: skip


# Opened anew before anything of the first stream was heard.
REOPENED: list[Line] = [LISTENING, {**LISTENING, "rate_hz": 48_000}, heard(0)]
WHOLE = [OPENED, MARK, PLAYED, heard()]


def perform(
    *played: list[Line], names: str = "ab", before: tuple[Line, ...] = (LISTENING, heard(0))
) -> tuple[list[str], list[str], Line, int]:
    """Perform files of which this is said each time one is played.

    Returns:
        which were played; what came; what was counted; how often it was unmuted.
    """
    told: list[Event] = []
    order: list[str] = []
    unmuted: list[Line] = []
    rest = iter(played)

    @contextlib.contextmanager
    def play(file: Path, stream: Stream, read: Callable[[IO[bytes]], None]) -> Iterator[None]:
        assert (stream.source, stream.channels) == ("loop", 1)
        order.append(str(file) if stream.rate_hz == 16_000 else f"{file} at {stream.rate_hz}")
        read(lines(next(rest)))
        yield

    def unmute() -> None:
        unmuted.append({})
        performance.read(lines([LISTENING, heard(0)]))

    performance = Performance(range(len(names)), [Path(name) for name in names], told.append, play, unmute)
    performance.read(lines([*before]))
    performance.run()
    counted = next((event.said for event in told if event.what == "microphone"), {})
    came = [f"{event.file} {event.what}" for event in told if event.what not in ("progress", "microphone")]
    return order, came, counted, len(unmuted)


def lines(said: list[Line]) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in said))


def test_one_after_the_other() -> None:
    order, came, counted, _ = perform(WHOLE, [OPENED, MARK, PLAYED, heard(overflows=2)])
    assert order == ["a", "b"]
    assert came == ["0 file", "0 done", "1 file", "1 done"]
    assert counted == {
        "source": "loop", "rate_hz": 16_000, "channels": 1,
        "overflows": 2, "behind": 0, "reopened": 0, "clipped": 0,
    }  # fmt: skip


def test_what_the_ear_dies_of_is_played_once_more() -> None:
    died = [OPENED, MARK, heard(20_000, overflows=1), {"type": "died"}, LISTENING, heard(0, overflows=3)]
    order, came, counted, _ = perform(died, died, WHOLE)
    assert order == ["a", "a", "b"]
    assert came == ["0 file", "0 file", "0 bad_file", "0 done", "1 file", "1 done"]
    assert counted["overflows"] == 2, "what an ear had counted when it died is lost"


def test_what_was_said_of_an_attempt_that_was_lost_is_not_of_the_next() -> None:
    lost = [OPENED, MARK, LISTENING, heard(0), {**PLAYED, "samples": 0}]
    cut = [OPENED, MARK, heard(), {**PLAYED, "error": "cut short", "hint": None}, heard()]
    order, came, _, _ = perform(lost, cut, names="a")
    assert order == ["a", "a"]
    assert came == ["0 file", "0 file", "0 bad_file", "0 done"]


def test_nothing_is_played_before_something_was_heard() -> None:
    assert perform(WHOLE, names="a", before=(*REOPENED,))[0] == ["a at 48000"]
    died: list[Line] = [OPENED, MARK, {"type": "died"}, *REOPENED]
    assert perform(died, WHOLE, names="a")[0] == ["a", "a at 48000"]


def test_an_ear_that_is_muted_by_a_file_hears_the_next() -> None:
    order, came, _, unmuted = perform([OPENED, MARK, MUTED], WHOLE)
    assert (order, unmuted) == (["a", "b"], 1)
    assert came == ["0 file", "0 utterance", "0 done", "1 file", "1 done"]


def test_nothing_more_is_played_once_it_is_stopped() -> None:
    order, came, counted, _ = perform([OPENED, MARK, {"type": "stop"}])
    assert (order, came, counted) == (["a"], ["0 file"], {})


def test_what_cannot_be_played_ends_it() -> None:
    with pytest.raises(UnavailableError, match="cannot be played: aplay: no such device"):
        perform([OPENED, {"type": "broken", "error": "aplay: no such device"}])
