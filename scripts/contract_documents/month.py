"""A month of a household that does not exist: what a device there reports, and when.

Four people's day, drawn from a seed: about thirty utterances, most of them served; now and
then somebody mutes it, has the last recording erased, or does so from afar. The payloads
are the contract's, and end dates are the device's. Times are seconds of a clock that the
whole month is written with; day 0 begins at midnight.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import msgspec

from fadeout_broker import contract
from fadeout_device.policy import Retention, compile_policy
from fadeout_device.vault.due import end_date

DAYS = 30
DAY_S = 86400
BEGINS_S = 1_790_000_000 // DAY_S * DAY_S
SWEEP_S = 900
STATE_EVERY_S = 600
ACTIONS = (
    "light.on", "light.off", "timer.set", "music.play", "music.stop", "weather.tell", "time.tell",
    "heating.up", "heating.down", "blinds.down", "blinds.up", "shopping.add",
)  # fmt: skip
_PER_HOUR = (0.1, 0, 0, 0, 0, 0.2, 1, 3, 2.5, 1, 0.8, 0.8, 1.5, 1.2, 0.8, 0.8, 1, 2, 3, 3, 2.5, 2, 1.5, 0.7)
_SERVED = 0.85
_ERASED_PER_DAY, _MUTED_PER_DAY, _MUTED_S = 0.3, 0.5, 2400
_DAY_OF_UPDATE, _DAY_OF_ALARM = 14, 21
CANARY_S, CANARIES = 6 * 3600, 4
FAILED_S = 7 * DAY_S
"""How long the audio and the words of a failed utterance are kept."""
_KEY, _ERA = "0" * 64, "0" * 8


class Sent(NamedTuple):
    """What the vault hands over, and when."""

    at_s: float
    payload: contract.Outgoing
    is_household: bool
    """Somebody did something; otherwise a timetable did."""
    is_sweep: bool = False


class Came(NamedTuple):
    """What somebody publishes to the device."""

    at_s: float
    topic: str
    payload: bytes


class Recording(NamedTuple):
    """What is held of one utterance."""

    event: str
    event_ends_at_s: int
    ends_at_s: int
    items: int
    ends_on_update: bool


class Month:
    """Lives through the month; afterwards `sent` and `came` hold it, in order of time."""

    def __init__(self, seed: int) -> None:
        self.sent: list[Sent] = []
        self.came: list[Came] = []
        self._random = random.Random(seed)  # noqa: S311 - a household, not a key
        self._held: list[Recording] = []
        self._is_muted = False
        self._swept: int | None = None
        self._receipts = self._notices = 0
        self._last: contract.DeviceState | None = None
        self._last_s = -math.inf
        self._connect()
        for at_s, what in sorted(self._diary()):
            self._beat_until(at_s)
            getattr(self, f"_{what}")(at_s)

    def _diary(self) -> list[tuple[float, str]]:
        """Return when what happens."""
        diary: list[tuple[float, str]] = []
        for day in range(DAYS):
            midnight = BEGINS_S + day * DAY_S
            for hour, rate in enumerate(_PER_HOUR):
                diary += self._some(midnight + hour * 3600, 3600, rate, "speak")
            waking = midnight + 7 * 3600
            diary += self._some(waking, 16 * 3600, _ERASED_PER_DAY, "erase")
            muted = self._some(waking, 15 * 3600, _MUTED_PER_DAY, "mute")
            diary += muted + [(at_s + _MUTED_S, "unmute") for at_s, _ in muted]
            diary += [(float(midnight + tick), "sweep") for tick in range(0, DAY_S, SWEEP_S)]
        diary.append((BEGINS_S + _DAY_OF_UPDATE * DAY_S + 3 * 3600.5, "update"))
        alarm = BEGINS_S + _DAY_OF_ALARM * DAY_S
        return [*diary, (alarm + 5000.0, "alarm"), (alarm + 9000.0, "all_clear")]

    def _some(self, from_s: float, length_s: float, expected: float, what: str) -> list[tuple[float, str]]:
        """Return that it happens at random times, so often on average."""
        times: list[tuple[float, str]] = []
        at_s = from_s
        while expected > 0:
            at_s -= math.log(1 - self._random.random()) * length_s / expected
            if at_s >= from_s + length_s:
                break
            times.append((at_s, what))
        return times

    def _send(self, at_s: float, payload: contract.Outgoing, *, sweep: bool = False) -> None:
        self.sent.append(Sent(at_s, payload, is_household=not sweep, is_sweep=sweep))

    def _hex(self, letters: int) -> str:
        return f"{self._random.getrandbits(4 * letters):0{letters}x}"

    # ---- what happens

    def _connect(self) -> None:
        """Say what is said on each connection; there is one in the month."""
        document = msgspec.json.decode(compile_policy(Retention()).document, type=contract.PolicyDocument)
        for payload in (
            contract.EraseBefore(v=1, era=_ERA, n=0, since=1, ids=()),
            contract.Info(v=1, sw="0.1.0", mode="prompt", actions=ACTIONS, commands=True, result_s=0),
            contract.PolicyNow(v=1, hash="0" * 64, document=document),
        ):
            self.sent.append(Sent(BEGINS_S, payload, is_household=False))
        self._tell_state(BEGINS_S, sweep=True)

    def _speak(self, at_s: float) -> None:
        if self._is_muted:
            return
        is_served = self._random.random() < _SERVED
        # The more often, the earlier in the list: as words of a language.
        weights = [1 / (1 + rank) for rank in range(len(ACTIONS))]
        action = self._random.choices(ACTIONS, weights)[0] if is_served else contract.NO_ACTION
        event_ends = end_date(at_s, DAY_S, SWEEP_S)
        ends = event_ends if is_served else end_date(at_s, FAILED_S, SWEEP_S)
        event = contract.ActionEvent(
            v=1, id=self._hex(16), action=action, outcome="served" if is_served else "failed",
            ttl=int(event_ends - at_s),
        )  # fmt: skip
        items = 1 if is_served else 3
        self._held.append(Recording(event.id, event_ends, ends, items, ends_on_update=not is_served))
        self._send(at_s, event)
        self._tell_state(at_s)

    def _erase(self, at_s: float) -> None:
        if not self._held:
            return
        newest = self._held.pop()
        self._notices += 1
        is_from_afar = self._random.random() < 0.5  # noqa: PLR2004 - heads or tails
        if is_from_afar:
            self.came.append(Came(at_s, "cmd/erase", b'{"last":1}'))
        if newest.event_ends_at_s > at_s:
            ids = (newest.event,)
            self._send(at_s, contract.EraseNotice(v=1, era=_ERA, n=self._notices, ids=ids))
            self._send(
                at_s, contract.EraseBefore(v=1, era=_ERA, n=self._notices, since=self._notices, ids=ids)
            )
            self.came.append(
                Came(
                    at_s + 0.2, "erase/ack/homeassistant", b'{"v":1,"era":"00000000","n":%d}' % self._notices
                )
            )
        self._receipt(at_s, newest.items, "user")
        if is_from_afar:
            data = contract.ReplyData(erased=1)
            self._send(at_s, contract.Reply(v=1, command="erase", status="ok", data=data))
        self._tell_state(at_s)

    def _mute(self, at_s: float) -> None:
        self._is_muted = True
        if self._random.random() < 0.5:  # noqa: PLR2004 - heads or tails
            self.came.append(Came(at_s, "cmd/mute", b""))
            self._send(at_s, contract.Reply(v=1, command="mute", status="ok"))
        self._tell_state(at_s)

    def _unmute(self, at_s: float) -> None:
        self._is_muted = False
        self._tell_state(at_s)

    def _update(self, at_s: float) -> None:
        gone = [one for one in self._held if one.ends_on_update]
        self._held = [one for one in self._held if not one.ends_on_update]
        self._send(
            at_s, contract.Info(v=1, sw="0.2.0", mode="prompt", actions=ACTIONS, commands=True, result_s=0)
        )
        if gone:
            self._receipt(at_s, sum(one.items for one in gone), "update")
        self._tell_state(at_s)

    def _alarm(self, at_s: float) -> None:
        self._send(at_s, contract.AlarmEvent(v=1, alarm="canary", on=True))

    def _all_clear(self, at_s: float) -> None:
        self._send(at_s, contract.AlarmEvent(v=1, alarm="canary", on=False))

    def _sweep(self, at_s: float) -> None:
        self._swept = int(at_s)
        items = CANARIES if int(at_s) % CANARY_S == 0 else 0
        for one in self._held:
            if one.event_ends_at_s == at_s:
                items += 1
            if one.ends_at_s == at_s and one.items > 1:
                items += one.items - 1
        self._held = [one for one in self._held if one.ends_at_s > at_s]
        if items:
            self._receipt(at_s, items, "expired", sweep=True)
        self._tell_state(at_s, sweep=True)

    def _receipt(self, at_s: float, items: int, reason: str, *, sweep: bool = False) -> None:
        self._receipts += 1
        receipt = contract.ReceiptEvent(
            v=1, n=self._receipts, items=items,
            reason=reason,  # type: ignore[arg-type]  # encoding decodes it
            hour=int(at_s) // 3600 * 3600, root="file", key=_KEY, signature=self._hex(128), ttl=DAY_S,
        )  # fmt: skip
        self._send(at_s, receipt, sweep=sweep)

    # ---- state

    def _tell_state(self, at_s: float, *, sweep: bool = False) -> None:
        ends = [one.event_ends_at_s if one.event_ends_at_s > at_s else one.ends_at_s for one in self._held]
        state = contract.DeviceState(
            v=1, listening=not self._is_muted, muted=self._is_muted, held=len(self._held), overdue=0,
            sweep="none" if self._swept is None else "ok", swept=self._swept,
            next_end=-(-min(ends) // 3600) * 3600 if ends else None, forgetting=True,
        )  # fmt: skip
        if state != self._last:
            self._last, self._last_s = state, at_s
            self._send(at_s, state, sweep=sweep)

    def _beat_until(self, at_s: float) -> None:
        while self._last is not None and self._last_s + STATE_EVERY_S < at_s:
            self._last_s += STATE_EVERY_S
            self.sent.append(Sent(self._last_s, self._last, is_household=False))
