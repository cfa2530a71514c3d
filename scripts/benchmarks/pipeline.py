"""What listening costs: processor time, memory, delay.

The whole ear (resampler, ring, wake word, end-pointing, the arrow to a real vault)
is timed against the bare wake-word engine on the same file, each as a process of its
own. What starting costs is taken off by timing a one-second file too. Memory is that
of the three processes while they listen to a file in real time, report to a
Mosquitto of their own, and have just sealed an utterance; `Pss` counts what the
three share (Python itself) once. Delays are wall-clock times in that same run.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from measured import Measurement, at_most

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

SUMMARY = "processor time, memory and delay of ear, vault and reporter"
RATE_HZ = 16_000
NOISE_AMPLITUDE = 60  # about -55 dBFS: a quiet room
MAX_RATIO = 1.5
MAX_SUM_MB = 130
MAX_EACH_MB = 35
ROOMS = {"ear": "fadeout_device.ear", "vault": "fadeout_device.vault", "reporter": "fadeout_broker.reporter"}

_BARE_ENGINE = """
import sys, wave
from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model
engine, features = MicroWakeWord.from_builtin(Model.OKAY_NABU), MicroWakeWordFeatures()
with wave.open(sys.argv[1]) as audio:
    while block := audio.readframes(1440):
        for feature in features.process_streaming(block):
            engine.process_streaming_prob(feature)
"""


def add_options(verb: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    verb.add_argument("--minutes", type=int, default=10, help="length of the file (default 10)")
    verb.add_argument("--runs", type=int, default=5, help="the median of so many runs counts (default 5)")


def measure(arguments: argparse.Namespace) -> list[Measurement]:
    """Measure everything."""
    with tempfile.TemporaryDirectory(prefix="fadeout-bench-") as name:
        folder = Path(name)
        speech = spoken_request(folder)
        long, short = folder / "long.wav", folder / "short.wav"
        write_audio(long, _minutes(speech, arguments.minutes))
        write_audio(short, quiet_room(RATE_HZ, np.random.default_rng(1)))
        return [
            *_processor(folder, long, short, arguments.minutes * 60 - 1, arguments.runs),
            *memory_and_delay(folder, speech),
        ]


def spoken_request(folder: Path) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return one wake word with a request after it, spoken by flite."""
    pieces = []
    for words, pause_s in (("okay nabu", 0.4), ("what time is the next train to the city", 0.0)):
        path = folder / "piece.wav"
        subprocess.run(["flite", "-voice", "rms", "-t", words, "-o", str(path)], check=True)
        samples, rate_hz = soundfile.read(path, dtype="int16")
        if rate_hz != RATE_HZ:
            raise SystemExit(f"flite's voice rms has {rate_hz} Hz, not {RATE_HZ}")
        pieces += [samples, np.zeros(int(pause_s * RATE_HZ), np.int16)]
    return np.concatenate(pieces)


def _minutes(
    speech: np.ndarray[Any, np.dtype[np.int16]], minutes: int
) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return minutes of a quiet room, with one interaction in each."""
    audio = quiet_room(minutes * 60 * RATE_HZ, np.random.default_rng(1))
    for minute in range(minutes):
        start = (minute * 60 + 10) * RATE_HZ
        audio[start : start + len(speech)] += speech
    return audio


def quiet_room(samples: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return the noise of a quiet room."""
    return rng.normal(0, NOISE_AMPLITUDE, samples).astype(np.int16)


def write_audio(path: Path, audio: np.ndarray[Any, np.dtype[np.int16]]) -> None:
    """Write 16 kHz mono."""
    soundfile.write(path, audio, RATE_HZ, subtype="PCM_16")


# ---- processor time


def _processor(folder: Path, long: Path, short: Path, more_s: float, runs: int) -> list[Measurement]:
    bare, ear = [], []
    for run in range(runs):
        # In turns, so that whatever else the machine does hits both.
        bare.append((bare_s(long) - bare_s(short)) / more_s)
        state = folder / f"state-{run}"
        ear.append((ear_s(state / "long", long) - ear_s(state / "short", short)) / more_s)
    bare_ms, ear_ms = statistics.median(bare) * 1000, statistics.median(ear) * 1000
    unit = "CPU-ms per second of audio"
    return [
        Measurement("bare wake-word engine", bare_ms, unit),
        Measurement("whole ear", ear_ms, unit),
        at_most("whole ear / bare engine", ear_ms / bare_ms, "times", MAX_RATIO),
    ]


def bare_s(path: Path) -> float:
    """Return the processor time of the engine alone on a file."""
    return _cpu_s([sys.executable, "-c", _BARE_ENGINE, str(path)])


def ear_s(state: Path, path: Path, config: Path | None = None) -> float:
    """Return the processor time of a whole ear that replays a file, with a vault to take what it hears."""
    given = [] if config is None else ["--config", str(config)]
    common = ["--state", str(state)]
    vault = subprocess.Popen(
        [sys.executable, "-m", ROOMS["vault"], *common, "--replay-clock", "1577836800"],
        stdout=subprocess.DEVNULL,
    )
    try:
        return _cpu_s(
            [sys.executable, "-m", ROOMS["ear"], *common, *given,
             "--replay", str(path), "--start-at", "1577836800"]
        )  # fmt: skip
    finally:
        vault.terminate()
        vault.wait()


def _cpu_s(command: list[str]) -> float:
    """Run a program and return the processor time it used."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[2]} ended with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


# ---- memory and delay


def memory_and_delay(folder: Path, speech: np.ndarray[Any, np.dtype[np.int16]]) -> list[Measurement]:
    """Measure a live run of all three processes, with a Mosquitto of its own."""
    path, state = folder / "spoken.wav", folder / "live"
    audio = quiet_room(20 * RATE_HZ, np.random.default_rng(2))
    audio[2 * RATE_HZ : 2 * RATE_HZ + len(speech)] += speech
    write_audio(path, audio)
    expected = _replayed(path)
    command = [sys.executable, "-m", "fadeout_device.cli", "run", "--json", "--local-broker",
               "--state", str(state), "--replay", str(path)]  # fmt: skip
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert running.stdout is not None  # noqa: S101 - it is a pipe
        seen = dict(_moments(running.stdout))
        memory = {room: _memory_mb(module, state) for room, module in ROOMS.items()}
    finally:
        running.terminate()
        running.wait()
    rows = [
        at_most(f"{room}, resident", rss, "MB", MAX_EACH_MB) if room != "ear"
        else Measurement(f"{room}, resident", rss, "MB")
        for room, (rss, _) in memory.items()
    ]  # fmt: skip
    began, utterance_s = seen["file"], expected["start_s"] + expected["duration_s"]
    return [
        *rows,
        at_most("all three, resident", sum(rss for rss, _ in memory.values()), "MB", MAX_SUM_MB),
        Measurement("all three, shared pages once", sum(pss for _, pss in memory.values()), "MB"),
        Measurement("wake word recognised to told", 1000 * (seen["wake"] - began - expected["wake_s"]), "ms"),
        Measurement("end of utterance to sealed", 1000 * (seen["sealed"] - began - utterance_s), "ms"),
        Measurement("wake to sealed, utterance included", seen["sealed"] - seen["wake"], "s"),
        Measurement("sealed to subscriber", 1000 * (seen["event"] - seen["sealed"]), "ms"),
    ]


def _replayed(path: Path) -> dict[str, float]:
    """Return what the same file gives in a replay: where in it things happen."""
    command = [sys.executable, "-m", "fadeout_device.cli", "replay", "--json", str(path)]
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    utterance: dict[str, float] = json.loads(output.splitlines()[0])
    return utterance


def _moments(lines: Any) -> Iterator[tuple[str, float]]:  # noqa: ANN401 - a pipe of lines
    """Yield the times at which the live view told of each step, up to the event at a subscriber."""
    for line in lines:
        now = time.monotonic()
        told = json.loads(line)
        for moment, room, words in (
            ("file", "ear", "listening to"), ("wake", "ear", "wake word"), ("sealed", "vault", "sealed"),
            ("event", "mqtt", "event/action"),
        ):  # fmt: skip
            if told["room"] == room and words in told["text"]:
                yield moment, now
                if moment == "event":
                    return


def _memory_mb(module: str, state: Path) -> tuple[float, float]:
    """Return a process's resident memory, and its share of it, in MB (10^6 bytes)."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if module.encode() in command and any(str(state).encode() in part for part in command):
            fields = dict(
                line.split(":", 1) for line in (entry / "smaps_rollup").read_text().splitlines()[1:]
            )
            return tuple(int(fields[key].split()[0]) * 1024 / 1e6 for key in ("Rss", "Pss"))  # type: ignore[return-value]  # two of them
    raise SystemExit(f"{module} is not running")
