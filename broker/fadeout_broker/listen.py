"""A subscriber that shows every message of every node, and marks what does not fit the contract.

For people who try fadeout out, and for tests: what a listener in the house can
learn is exactly what is printed. Keeps nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import msgspec
from paho.mqtt.client import MQTT_LOG_ERR, Client, MQTTMessage
from paho.mqtt.subscribeoptions import SubscribeOptions

from fadeout_broker import arrow, contract, discovery, failures
from fadeout_broker.adapters.mqtt_client import connect, new_client
from fadeout_broker.backoff import Backoff
from fadeout_broker.lifetime import PARENT_PID_VARIABLE, die_with_parent

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

_RETRY_CAP_S = 5.0
_EVERY_NODE = "+"
_BOLD, _FAINT, _RED, _END = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"  # ECMA-48, "SGR"


class Heard(msgspec.Struct, frozen=True):
    """One message, as it is shown with `--json`."""

    topic: str
    payload: Any
    """The JSON value, or the text of what is no JSON; of a discovery only its size."""
    retain: bool
    """Sent by the broker from its store, not by the device just now."""
    problem: str | msgspec.UnsetType = msgspec.UNSET
    """Why it does not fit the contract; left out if it does."""


def hear(topic: str, data: bytes, *, retain: bool) -> Heard | None:
    """Decode one message and hold it against the contract; None: another program's discovery."""
    if not topic.startswith(f"{contract.TOPIC_ROOT}/"):
        return _hear_discovery(topic, data, retain=retain)
    try:
        shown: Any = json.loads(data)
    except ValueError:  # no JSON, or no UTF-8
        shown = data.decode("utf-8", errors="replace")
    return Heard(topic, shown, retain=retain, problem=_problem(topic, data) or msgspec.UNSET)


def _hear_discovery(topic: str, data: bytes, *, retain: bool) -> Heard | None:
    problem: str | msgspec.UnsetType = msgspec.UNSET
    node = topic.split("/")[-2] if "/" in topic else ""
    try:
        if data and discovery.decode(data).node != node:
            problem = "not the topic of this node"
    except contract.ContractError:
        if f'"{contract.TOPIC_ROOT}"'.encode() not in data:
            return None  # others use the same topics, and it is none of our business
        problem = "not a discovery of ours"
    return Heard(topic, f"discovery of {len(data)} bytes", retain=retain, problem=problem)


def _problem(topic: str, data: bytes) -> str:
    node, _, end = topic.removeprefix(f"{contract.TOPIC_ROOT}/").partition("/")
    if not data and topic in contract.retained_topics(node):
        return ""  # no longer said
    if topic == contract.availability_topic(node):
        known = [word.encode() for word in get_args(contract.Availability)]
        return "" if data in known else "not a word of the contract"
    try:
        if end.startswith("cmd/"):
            contract.decode_request(end.removeprefix("cmd/"), data)
        elif end.startswith("erase/ack/"):
            contract.decode_ack(data)
        else:
            return _problem_of_payload(node, topic, data)
    except contract.ContractError as err:
        return str(err)
    return ""


def _problem_of_payload(node: str, topic: str, data: bytes) -> str:
    payload = contract.decode(data)
    if isinstance(payload, contract.Reply):
        is_there = contract.is_reply_topic(node, topic)
    else:
        is_there = topic == contract.topic_of(node, payload)
    if not is_there:
        return "not the topic of this type"
    # In the trains of `batched` mode there are more spaces.
    size = max(len(data), payload.padded_bytes)
    return (
        ""
        if data == contract.encode(payload, size_bytes=size)
        else "not encoded and padded as the contract says"
    )


class Listener:
    """Prints messages until it is interrupted; survives the broker.

    Args:
        settings: where and how to connect.
        node: whose messages; None: everybody's.
        as_json: one JSON object per line, for programs.
        is_quiet: do not say that it listens; trouble is told all the same.
    """

    def __init__(
        self, settings: arrow.BrokerSettings, node: str | None, *, as_json: bool, is_quiet: bool
    ) -> None:
        self._settings = settings
        self._filter = f"{contract.TOPIC_ROOT}/{node or _EVERY_NODE}/#"
        self._discovery = discovery.topic_of(node or _EVERY_NODE, settings.discovery_prefix)
        is_for_people = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._colour = _coloured if is_for_people and not as_json else _plain
        self._as_json = as_json
        self._is_quiet = is_quiet
        self._backoff = Backoff(random.SystemRandom().random, cap_s=_RETRY_CAP_S)
        self._said = ""
        self._ending = ""
        self._logged = ""
        self._is_accepted = False

    def run(self) -> NoReturn:
        """Listen for ever.

        Raises:
            SettingsError: a file that the settings name cannot be used.
            KeyboardInterrupt: SIGINT.
        """
        while True:
            self._listen()
            self._say(failures.as_options(self._ending))
            time.sleep(self._backoff.next_s())

    def _listen(self) -> None:
        """Listen on one connection until it ends."""
        client = new_client(self._settings, "")
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_log = self._on_log
        self._logged, self._is_accepted = "", False
        try:
            connect(client, self._settings)
        except (OSError, UnicodeError) as err:
            self._ending = failures.of_connecting(err, self._settings)
            return
        client.loop_forever()

    def _on_connect(self, client: Client, _userdata: Any, _flags: Any, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        if reason.is_failure:
            self._ending = failures.of_refusal(reason.value, self._settings)
            client.disconnect()
        else:
            self._is_accepted = True
            client.subscribe([(each, SubscribeOptions(qos=1)) for each in (self._filter, self._discovery)])

    def _on_subscribe(
        self,
        client: Client,
        _userdata: Any,  # noqa: ANN401 - paho's signature
        _mid: int,
        reasons: list[ReasonCode],
        _: Any,  # noqa: ANN401 - paho's signature
    ) -> None:
        if reasons[0].is_failure:
            self._ending = f"not authorised to read {self._filter}; allow it in the broker's ACL"
            client.disconnect()
            return
        self._backoff.reset()
        if not self._is_quiet:
            self._say(f"listening to {self._filter} at {failures.where(self._settings)}")

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
        heard = hear(message.topic, bytes(message.payload), retain=message.retain)
        if heard is not None:
            self._show(msgspec.json.encode(heard).decode() if self._as_json else self._colour(heard))

    def _on_disconnect(self, _client: Client, _userdata: Any, flags: Any, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        if self._ending:
            return  # said by whoever ended it
        self._ending = failures.of_lost_connection(
            reason.value,
            self._logged,
            self._settings,
            from_broker=flags.is_disconnect_packet_from_server,
            accepted=self._is_accepted,
        )

    def _on_log(self, _client: Client, _userdata: Any, level: int, text: str) -> None:  # noqa: ANN401 - paho's signature
        if level == MQTT_LOG_ERR:
            self._logged = text

    def _show(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def _say(self, words: str) -> None:
        self._ending = ""
        if words != self._said:  # once, not at every attempt
            self._said = words
            sys.stderr.write(words + "\n")


def _plain(heard: Heard) -> str:
    """Return one line for people."""
    return "".join(_parts(heard))


def _coloured(heard: Heard) -> str:
    """Return one line for a terminal: what is wrong in red, cover faint, the topic bold."""
    when, topic, payload, mark, problem = _parts(heard)
    if heard.topic.endswith(f"/{contract.Cover.topic}"):
        return f"{_FAINT}{when}{topic}{payload}{mark}{_END}{_RED}{problem}{_END}"
    return f"{_FAINT}{when}{_END}{_BOLD}{topic}{_END}{payload}{_FAINT}{mark}{_END}{_RED}{problem}{_END}"


def _parts(heard: Heard) -> tuple[str, str, str, str, str]:
    """Return a line's parts without control characters: a broker is not to draw on the terminal."""
    payload = heard.payload if isinstance(heard.payload, str) else json.dumps(heard.payload)
    when, topic, payload, mark, problem = (
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in part)
        for part in (
            f"{time.strftime('%H:%M:%S')}  ",
            heard.topic,
            f"  {payload or '(cleared)'}",
            "  (retained)" if heard.retain else "",
            f"  ! {heard.problem}" if heard.problem else "",
        )
    )
    return when, topic, payload, mark, problem


def run(settings: arrow.BrokerSettings, node: str | None, *, as_json: bool, is_quiet: bool) -> int:
    """Listen until SIGINT or SIGTERM; return the exit code."""
    if PARENT_PID_VARIABLE in os.environ:
        die_with_parent()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Listener(settings, node, as_json=as_json, is_quiet=is_quiet).run()
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # Whoever read us, `head` perhaps, has had enough; Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
