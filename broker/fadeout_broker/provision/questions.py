"""What is asked of a broker to know that it is set up right: what must work, and what must be refused.

Everything that is sent is harmless where somebody hears it: pings, and empty messages
on topics of a device that does not exist. A refusal is asked for on a connection of its
own, because some brokers close it. The answers are `Finding`s, in the order of asking.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
from typing import TYPE_CHECKING, Literal

import msgspec

from fadeout_broker import contract, failures
from fadeout_broker.provision.certificates import SOON_DAYS, Role, days_left
from fadeout_broker.provision.probe import Probe, ProbeError, refuses_old_tls
from fadeout_broker.uplink import client_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fadeout_broker.arrow import BrokerSettings

_NEXT_LINES = "compare the broker's ACL with the one that fadeout-broker provision makes"
_TWIN_S = 5.0
"""Two clients with one id take the connection from each other about once a second."""


class Finding(msgspec.Struct, frozen=True):
    """The answer to one question."""

    check: str
    status: Literal["ok", "failed", "skipped"]
    detail: str
    next: str | None = None
    """What the operator can do."""


class Examiner:
    """Asks one broker.

    Args:
        settings: how to reach it.
        name: our user name there.
        role: what we are to it: a device, or which kind of subscriber.
        patience_s: how long to wait for each answer.
    """

    def __init__(self, settings: BrokerSettings, name: str, role: Role, patience_s: float) -> None:
        self._settings = settings
        self._name = name
        self._role = role
        self._patience_s = patience_s
        self._nobody = f"check-{secrets.token_hex(4)}"  # no device is called so

    def ask(self, *, with_own_id: bool) -> Iterator[Finding]:
        """Ask everything.

        Args:
            with_own_id: connect as the device itself does, to see whether another one uses its id too.
        """
        own_id = client_id(self._name) if with_own_id else f"{self._nobody}-0"
        probe = Probe(self._settings, own_id, self._patience_s)
        try:
            probe.open()
        except ProbeError as err:
            yield _failed("connects", str(err))
            return
        with probe:
            yield Finding("connects", "ok", f"{failures.where(self._settings)} takes MQTT 5, as {self._name}")
            yield self._encrypted(probe)
            if with_own_id:
                twin = self._only_one(probe)
                yield twin
                if twin.status == "failed":
                    return  # whatever is asked next, the other one ends the connection
            yield _asked("publishes", lambda: self._publishes(probe))
            heard = _asked("hears itself", lambda: self._hears_itself(probe))
            yield heard
            for check, question in (
                ("clears what it retained", self._clears),
                ("hears only its own", self._hears_only_its_own),
            ):
                if heard.status == "failed":
                    yield Finding(check, "skipped", "not tried, because nothing is heard")
                else:
                    yield _asked(check, lambda question=question: question(probe))  # type: ignore[misc] # because mypy infers no default's type
        yield from self._refusals()

    # ---- what must work

    def _encrypted(self, probe: Probe) -> Finding:
        check = "is encrypted"
        if self._settings.tls:
            days = days_left(probe.peer_certificate_der(), dt.datetime.now(dt.UTC))
            soon = "fadeout-broker rotate DIR broker" if days < SOON_DAYS else None
            detail = f"{probe.tls_version()}; the broker's certificate is good and ends in {days} days"
            return Finding(check, "ok", detail, soon)
        if _is_loopback(self._settings.host):
            return Finding(check, "skipped", "not encrypted; it does not leave this machine")
        return Finding(check, "failed", "not encrypted: the network reads along", "fadeout-broker provision")

    def _only_one(self, probe: Probe) -> Finding:
        if probe.lost_within(_TWIN_S) is None:
            return Finding("is the only one", "ok", f"nobody else connects as {client_id(self._name)}")
        words = failures.of_flapping(client_id(self._name), self._settings)
        return _failed("is the only one", words)

    def _publishes(self, probe: Probe) -> Finding:
        topic = self._own_topic()
        if probe.publish(topic, b""):
            return Finding("publishes", "ok", topic)
        return Finding("publishes", "failed", f"not authorised to publish {topic}", self._next_acl())

    def _hears_itself(self, probe: Probe) -> Finding:
        """A refused subscription looks granted: only a message that comes back proves it."""
        topics = [self._echo_topic()]
        if self._role is Role.DEVICE:
            topics.append(contract.prefix_of(self._name) + f"erase/ack/{self._name}")
        if self._role is Role.HOME_ASSISTANT:
            topics.append(f"homeassistant/{self._nobody}")
        for topic in topics:
            heard_on = self._filter_for(topic)
            is_granted = probe.subscribe(heard_on)
            mark = self._new_mark()
            if not probe.publish(topic, mark):
                return Finding(
                    "hears itself", "failed", f"not authorised to publish {topic}", self._next_acl()
                )
            if not is_granted or not probe.hear(topic, mark)[0]:
                detail = f"subscribed to {heard_on}, and nothing comes"
                return Finding(
                    "hears itself", "failed", f"{detail}: not authorised to read", self._next_acl()
                )
        return Finding("hears itself", "ok", ", ".join(map(self._filter_for, topics)))

    def _clears(self, probe: Probe) -> Finding:
        check, topic = "clears what it retained", self._echo_topic()
        kept = self._new_mark()
        if not probe.publish(topic, kept, retain=True):
            return Finding(check, "failed", f"not authorised to retain {topic}", self._next_acl())
        is_kept = self._retained(probe, topic) == kept
        probe.publish(topic, b"", retain=True)
        left = self._retained(probe, topic)
        if not is_kept:
            return Finding(
                check, "failed", "nothing is retained", "switch it on there (Mosquitto: retain_available)"
            )
        if left is not None:
            return Finding(
                check, "failed", f"{topic} is still there after it was cleared", "use another broker"
            )
        return Finding(check, "ok", "an empty message removes what was retained")

    def _hears_only_its_own(self, probe: Probe) -> Finding:
        """Subscribe to everything and say something that is not for us; then something that is."""
        check = "hears only its own"
        if self._role is not Role.DEVICE:
            return Finding(check, "skipped", "a subscriber reads all of fadeout")
        probe.subscribe("#")
        said, last = self._new_mark(), self._new_mark()
        if not probe.publish(self._own_topic(), said) or not probe.publish(self._echo_topic(), last):
            return Finding(check, "failed", "could not be tried: not authorised to publish", self._next_acl())
        _, before = probe.hear(self._echo_topic(), last)
        if any(message.payload == said for message in before):
            return Finding(
                check,
                "failed",
                "this user reads everything: a stolen device hears its neighbours",
                _NEXT_LINES,
            )
        return Finding(check, "ok", "subscribed to #, and what is not for it does not come")

    # ---- what must be refused

    def _refusals(self) -> Iterator[Finding]:
        nobodys = contract.prefix_of(self._nobody)
        writes = {"another device's topic": f"{nobodys}reply", "a topic outside of fadeout": self._nobody}
        if self._role is Role.DEVICE:
            writes["a command to another device"] = f"{nobodys}cmd/ping"
        elif self._role is Role.READER:
            writes["a command"] = f"{nobodys}cmd/ping"
        else:
            writes["to pose as a device"] = f"{contract.prefix_of(self._name)}reply"
        for what, topic in writes.items():
            yield _asked(f"is refused: {what}", lambda topic=topic: self._refused(topic))  # type: ignore[misc] # because mypy infers no default's type
        yield _asked("is refused: a stranger", self._stranger)
        yield _asked("is refused: TLS 1.2", self._old_tls)

    def _refused(self, topic: str) -> Finding:
        try:
            with Probe(self._settings, self._fresh_id(), self._patience_s) as probe:
                probe.open()
                is_taken = probe.publish(topic, b"")
        except ProbeError:
            return Finding("", "ok", f"{topic}: the broker closed the connection")
        if is_taken:
            return Finding("", "failed", f"{topic} was taken", _NEXT_LINES)
        return Finding("", "ok", topic)

    def _stranger(self) -> Finding:
        nobody = msgspec.structs.replace(
            self._settings, cert_file=None, key_file=None, username=None, password_file=None
        )
        try:
            with Probe(nobody, self._fresh_id(), self._patience_s) as probe:
                probe.open()
        except ProbeError:
            return Finding("", "ok", "without certificate or password")
        return Finding(
            "",
            "failed",
            "the broker lets everybody in",
            "set allow_anonymous false and require_certificate true",
        )

    def _old_tls(self) -> Finding:
        if not self._settings.tls:
            return Finding("", "skipped", "not encrypted at all")
        if refuses_old_tls(self._settings, self._patience_s):
            return Finding("", "ok", "TLS 1.3 only")
        return Finding("", "failed", "the broker takes TLS 1.2", "set tls_version tlsv1.3 there")

    # ---- the parts

    def _retained(self, probe: Probe, topic: str) -> bytes | None:
        """Return what is retained on a topic that we may read and write: a new subscription shows it."""
        probe.subscribe(topic)
        last = self._new_mark()
        probe.publish(topic, last)
        _, before = probe.hear(topic, last)
        return next((message.payload for message in before if message.retain), None)

    def _own_topic(self) -> str:
        """Return a topic that we may write and where nothing is expected."""
        if self._role is Role.DEVICE:
            return contract.prefix_of(self._name) + f"reply/{self._nobody}"
        return self._echo_topic()

    def _echo_topic(self) -> str:
        """Return a topic that we may write and read."""
        if self._role is Role.DEVICE:
            return contract.prefix_of(self._name) + "cmd/ping"
        if self._role is Role.READER:
            return contract.prefix_of(self._nobody) + f"erase/ack/{self._name}"
        return contract.prefix_of(self._nobody) + "cmd/ping"

    def _filter_for(self, topic: str) -> str:
        if self._role is not Role.DEVICE:
            return f"{topic.partition('/')[0]}/#"
        is_command = topic == self._echo_topic()
        return contract.command_filter(self._name) if is_command else contract.ack_filter(self._name)

    def _new_mark(self) -> bytes:
        return msgspec.json.encode({"transaction": f"check-{secrets.token_hex(8)}"})

    def _fresh_id(self) -> str:
        return f"{self._nobody}-{secrets.token_hex(2)}"

    def _next_acl(self) -> str:
        return f"allow it to {self._name} in the broker's ACL; {_NEXT_LINES}"


def _asked(check: str, question: Callable[[], Finding]) -> Finding:
    """Ask, and take a lost connection for an answer."""
    try:
        answer = question()
    except ProbeError as err:
        return _failed(check, str(err))
    return msgspec.structs.replace(answer, check=check)


def _failed(check: str, words: str) -> Finding:
    """Make a finding of a line of `failures`: what happened, then the next step."""
    detail, _, following = words.partition("; ")
    return Finding(check, "failed", detail, following or None)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
