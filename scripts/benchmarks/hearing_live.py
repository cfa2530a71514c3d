"""What the ear costs at a microphone, in real time, beside the bare engine and a whole peer; and on one core.

All hear the same loop of sound at the same time, so that whatever else the machine does hits
all; the bare engine is given as much audio at the same pace. Processes count with all their
threads and with the programs that they run. A process that wakes eleven times a second finds
the processor's caches taken by others: what is measured here is more than in files, for all.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hearing_peer
import numpy as np
import pipeline
from measured import Measurement, at_most, not_measured

from fadeout_device.config import MicrophoneSettings
from fadeout_device.errors import UnavailableError
from fadeout_device.replaying import sound_loop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import hearing_audio

MAX_RATIO = 1.5
MAX_PEER_RATIO = 0.25
CONFIG = '[recogniser]\nengine = "none"\n'
_SETTLE_S = 8.0
_UNIT = "CPU-ms per second of audio"
_RATE_HZ = pipeline.RATE_HZ

_PACED_ENGINE = """
import sys, time, wave
from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model
engine, features = MicroWakeWord.from_builtin(Model.OKAY_NABU), MicroWakeWordFeatures()
with wave.open(sys.argv[1]) as audio:
    due = time.monotonic()
    while block := audio.readframes(1440):
        due += 0.09
        time.sleep(max(0.0, due - time.monotonic()))
        for feature in features.process_streaming(block):
            engine.process_streaming_prob(feature)
"""


def measure(
    folder: Path, busy: hearing_audio.Samples, windows: int, window_s: float, sources: Sequence[str]
) -> list[Measurement]:
    """Measure everything that takes a sound card.

    Args:
        folder: for what is written.
        busy: audio in which somebody asks for something every ten seconds; it is what one core hears.
        windows: the median of so many counts.
        window_s: how long each is.
        sources: where the peer is installed from.
    """
    try:
        return [
            *_processor(folder, busy, windows, window_s, sources),
            *_one_core(folder, busy),
        ]
    except UnavailableError as err:
        return [not_measured("live ear", err)]


def _processor(
    folder: Path, busy: hearing_audio.Samples, windows: int, window_s: float, sources: Sequence[str]
) -> list[Measurement]:
    rows: list[Measurement] = []
    length_s = int(_SETTLE_S + 2 + 1.5 * windows * window_s)
    room = pipeline.quiet_room(length_s * _RATE_HZ, np.random.default_rng(5))
    spoken = np.resize(busy, length_s * _RATE_HZ).astype(np.int16)
    peer: hearing_peer.Installed | None = None
    try:
        peer = hearing_peer.installed(sources)
        idle, resident = _hear(folder / "idle", room, windows, window_s, peer)
    except hearing_peer.UnavailableError as err:
        rows.append(not_measured("peer: wyoming-satellite + wyoming-microwakeword", err))
        peer = None
        idle, resident = _hear(folder / "alone", room, windows, window_s, None)
    active, _ = _hear(folder / "active", spoken, windows, window_s, peer)
    for state, ms in (("idle", idle), ("active", active)):
        rows += [Measurement(f"{who}, live, {state}", value, _UNIT) for who, value in ms.items()]
    ratio = idle["ear"] / idle["bare engine"]
    rows.append(at_most("ear / bare engine, live, idle", ratio, "times", MAX_RATIO))
    ratio = active["ear"] / active["bare engine"]
    rows.append(Measurement("ear / bare engine, live, active", ratio, "times"))
    if "peer" in idle:
        ratio = idle["ear"] / idle["peer"]
        rows.append(at_most("ear / peer, live, idle", ratio, "times", MAX_PEER_RATIO))
        rows.append(Measurement("ear / peer, live, active", active["ear"] / active["peer"], "times"))
        rows.append(
            Measurement("bare engine / peer, live, idle", idle["bare engine"] / idle["peer"], "times")
        )
    return rows + [Measurement(f"{who}, live, resident", value, "MB") for who, value in resident.items()]


def _hear(
    folder: Path,
    audio: hearing_audio.Samples,
    windows: int,
    window_s: float,
    peer: hearing_peer.Installed | None,
) -> tuple[dict[str, float], dict[str, float]]:
    """Have everybody hear the same; return processor time and resident memory of each."""
    folder.mkdir()
    path = folder / "heard.wav"
    pipeline.write_audio(path, audio)
    config = folder / "live.toml"
    config.write_text(CONFIG)
    with sound_loop.opened(None, MicrophoneSettings()) as loop, contextlib.ExitStack() as stack:

        def run(*command: str | Path) -> int:
            process = subprocess.Popen(
                [*map(str, command)], env={**os.environ, **loop.environment},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process.pid

        vault = run(sys.executable, "-m", pipeline.ROOMS["vault"], "--state", folder / "state")
        ear = run(
            sys.executable, "-m", pipeline.ROOMS["ear"], "--state", folder / "state",
            "--config", config, "--microphone", loop.microphone,
        )  # fmt: skip
        processes = {"ear": [ear], "vault beside it": [vault]}
        if peer is not None:
            processes["peer"] = stack.enter_context(
                hearing_peer.running(peer, hearing_peer.arecord(loop.microphone), loop.environment)
            )
        processes["bare engine"] = [run(sys.executable, "-c", _PACED_ENGINE, path)]
        run("paplay", f"--device={sound_loop.OWN}", path)
        time.sleep(_SETTLE_S)
        ms = _medians(processes, windows, window_s)
        resident = {who: sum(map(_resident_mb, pids)) for who, pids in processes.items()}
    del resident["bare engine"]
    return ms, resident


def _medians(processes: Mapping[str, Sequence[int]], windows: int, window_s: float) -> dict[str, float]:
    taken: dict[str, list[float]] = {who: [] for who in processes}
    for _ in range(windows):
        began_mono_s = time.monotonic()
        before = {who: sum(map(hearing_peer.cpu_s, pids)) for who, pids in processes.items()}
        time.sleep(window_s)
        after = {who: sum(map(hearing_peer.cpu_s, pids)) for who, pids in processes.items()}
        for who, each in taken.items():
            each.append(1000 * (after[who] - before[who]) / (time.monotonic() - began_mono_s))
    return {who: statistics.median(each) for who, each in taken.items()}


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit("no Rss in /proc")


# ---- one core


def _one_core(folder: Path, busy: hearing_audio.Samples) -> Iterator[Measurement]:
    """Have the whole of fadeout, and the sound server, hear a minute of wake words on one core."""
    path = folder / "one-core.wav"
    pipeline.write_audio(path, busy)
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_cores)})
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "fadeout_device.cli", "replay", "--through-microphone", "--json", path],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    finally:
        os.sched_setaffinity(0, all_cores)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    counted = next(line["microphone"] for line in lines if "microphone" in line)
    yield Measurement("one core: seconds of audio", len(busy) / _RATE_HZ, "s")
    yield Measurement("one core: utterances", sum("wake_word" in line for line in lines), "")
    yield at_most("one core: overflows", counted["overflows"], "times", 0)
    yield at_most("one core: buffers dropped", counted["behind"], "buffers", 0)
