"""The subscriber that integrators use; see docs/subscribers.md.

Two threads of its own: one hears the broker, one looks when an event's end comes. So it
forgets on time however long the program's own code takes. Both take turns by `_turn`,
which is held while `on_forget` runs; what the program reads needs only the store.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from fadeout_broker import contract
from fadeout_broker.backoff import Backoff
from fadeout_broker.errors import CallbackError, FadeoutBrokerError, SettingsError
from fadeout_broker.subscriber.clocks import read_clocks
from fadeout_broker.subscriber.connection import Broker, Connection
from fadeout_broker.subscriber.memory import Memory
from fadeout_broker.subscriber.reading import filters
from fadeout_broker.subscriber.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from os import PathLike

    from fadeout_broker.subscriber.held import Counts, Device, Event, Gone
    from fadeout_broker.subscriber.passing import Reading

_log = logging.getLogger("fadeout_broker.subscriber")

_LOOK_EVERY_S = 10.0
"""A clock may be set, and the machine may sleep: so no wait for an end is longer."""
_RETRY_S = 5.0


class Subscriber:
    """Hears what devices do, and forgets it when it must.

    Events are stored, forgotten at their end, and forgotten when the device says so or may have said so while
    nobody listened; after that it is acknowledged. Use it as a context manager, and iterate over it::

        with Subscriber("lights", host="broker.lan", database="lights.db") as house:
            for event in house:
                print(event.action)

    Args:
        consumer: who acknowledges erasures: our user name at the broker, which is also the default. None
            without a user name: nothing is acknowledged.
        host: the broker.
        port: its TCP port; None: 1883, or 8883 with TLS.
        username: log in as this user.
        password: with this password.
        tls: encrypt, and check the broker's certificate; `ca_file` and `cert_file` imply it.
        ca_file: the broker's CA; None: those of this system.
        cert_file: our client certificate.
        key_file: its key.
        node: only this device; None: every one that we may read.
        database: where events are stored; None: in memory, gone with the process.
        on_forget: called with the events that go, before their ids do and before it is acknowledged: forget
            there what was derived from them. In a thread of ours. It may be called again for the same events,
            after a crash or when it raised.
        on_device: called with a device's name when its `Device` has changed. In a thread of ours.
        keep_session_s: have the broker queue what we miss, for so many seconds. 0, the default: it keeps no
            copies for us, which would be beyond every erasure; the watermark tells us what to forget.
        backoff: between connections; None: up to a minute, with jitter.
        clocks: reads the clocks; tests hand in their own.

    Raises:
        SettingsError: a name or a file cannot be used.
        StoreError: the database cannot be used.
    """

    def __init__(  # noqa: PLR0913 - each is one decision of the integrator
        self,
        consumer: str | None = None,
        *,
        host: str = "localhost",
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        tls: bool = False,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        node: str | None = None,
        database: str | PathLike[str] | None = None,
        on_forget: Callable[[Sequence[Gone]], None] | None = None,
        on_device: Callable[[str, Device], None] | None = None,
        keep_session_s: int = 0,
        backoff: Backoff | None = None,
        clocks: Callable[[], Reading] = read_clocks,
    ) -> None:
        self._consumer = _fitting(consumer or username, contract.Consumer, "consumer")
        _fitting(node, contract.Node, "node")
        if keep_session_s and self._consumer is None:
            raise SettingsError("keep_session_s without a consumer", "the broker knows a session by its name")
        self._on_forget = on_forget
        self._on_device = on_device
        self._clocks = clocks
        is_tls = tls or ca_file is not None or cert_file is not None
        self._connection = Connection(
            Broker(host, port, username, password, is_tls, ca_file, cert_file, key_file),
            client_id=f"fadeout-subscriber-{self._consumer}" if keep_session_s else "",
            keep_session_s=keep_session_s,
            filters=filters(node),
            hear=self._hear,
            changed=self._connection_changed,
            died=self._died,
            backoff=backoff or Backoff(random.SystemRandom().random),
        )
        self._store = Store(None if database is None else Path(database))
        self._memory = Memory(self._store, self._forget_derived, self._acknowledge)
        self._turn = threading.RLock()
        self._news = threading.Condition()
        self._is_stopped = False
        self._failure: FadeoutBrokerError | None = None
        self._fatal: Exception | None = None
        self._looker = threading.Thread(
            target=self._look_until_stopped, name="fadeout-subscriber-ends", daemon=True
        )

    # ---- start and stop

    def start(self) -> None:
        """Forget what has ended meanwhile, then begin to listen; returns before there is a connection.

        Raises:
            CallbackError: `on_forget` raised.
            StoreError: the database cannot be written.
        """
        with self._turn:
            self._memory.tick(self._clocks())
        self._looker.start()
        self._connection.start()

    def stop(self) -> None:
        """Stop listening and close the database; stopping twice is harmless."""
        with self._news:
            self._is_stopped = True
            self._news.notify_all()
        self._connection.stop()
        if self._looker.is_alive() and self._looker is not threading.current_thread():
            self._looker.join(_RETRY_S)
        with self._turn:
            self._store.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- what the program asks

    def __iter__(self) -> Iterator[Event]:
        """Hand out events as they come, oldest first, until `stop`.

        One is handed out again after a restart if the loop's body had not come to its end; one that was
        forgotten meanwhile is not handed out at all. Raises what `next` raises.
        """
        while (event := self.next()) is not None:
            yield event
            self.done(event)

    def run(self, on_event: Callable[[Event], object]) -> None:
        """Call `on_event` with each event, in this thread, until `stop`; see `__iter__`."""
        for event in self:
            on_event(event)

    def next(self, timeout_s: float | None = None) -> Event | None:
        """Return the oldest event that is not `done`, waiting for one; None: stopped, or none in time.

        Raises:
            CallbackError: a callback raised. If it was `on_forget`, nothing is acknowledged, and it is tried
                again every few seconds.
            StoreError: the database cannot be read or written. Each of these is raised once; go on by
                asking again.
            RuntimeError: there is a bug in this library, and it no longer forgets on time.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._news:
            while not self._is_stopped:
                if self._fatal is not None:
                    raise RuntimeError("a thread of the subscriber has died") from self._fatal
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
                event = self._store.next_unhandled(self._memory.now_s(self._clocks()))
                if event is not None:
                    return event
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return None
                self._news.wait(left_s)
        return None

    def done(self, event: Event) -> None:
        """Do not hand this event out again; it is held until it must be forgotten."""
        if not self._is_stopped:
            self._store.handled(event)

    def report(self, event: Event, result: Literal["done", "failed"]) -> None:
        """Say how an event's action ended, to a device that waits for that: `result_s` of its `info`.

        Nobody answers here. Without a connection, or too late, it comes to nothing.
        """
        topic = f"{contract.prefix_of(event.node)}cmd/{contract.ResultRequest.name}"
        request = contract.ResultRequest(id=event.id, result=result)
        self._connection.publish(topic, msgspec.json.encode(request))

    def events(self) -> list[Event]:
        """Return what is held, oldest first: of all devices, handled or not."""
        return self._store.events(self._memory.now_s(self._clocks()))

    @property
    def devices(self) -> Mapping[str, Device]:
        """The devices that were heard of since the start, by their names in topics."""
        return dict(self._memory.devices)

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, and what to do about it; None: there is one."""
        return self._connection.trouble

    @property
    def counts(self) -> Counts:
        """What became of the messages since the start."""
        return msgspec.structs.replace(self._memory.counts)

    def wait_until_connected(self, timeout_s: float) -> bool:
        """Wait until the broker has taken our subscription; say whether it has."""
        with self._news:
            return self._news.wait_for(lambda: self.trouble is None, timeout_s)

    # ---- our threads

    def _hear(self, topic: str, data: bytes, expiry_s: int | None) -> None:
        with self._turn:
            if self._is_stopped:
                return
            device: Device | None = None
            try:
                device = self._memory.take(topic, data, expiry_s, self._clocks())
            except CallbackError as err:
                self._failed(err)  # what is left to do is written down: `_look` goes on with it
            except FadeoutBrokerError as err:
                self._failed(err)
                raise
        self._tell({} if device is None else {topic.split("/")[1]: device})

    def _look_until_stopped(self) -> None:
        try:
            self._look()
        except Exception as err:
            self._died(err)
            raise

    def _look(self) -> None:
        wait_s = 0.0
        while True:
            with self._news:
                if self._is_stopped:
                    return
                self._news.wait(wait_s)
            with self._turn:
                if self._is_stopped:
                    return
                try:
                    self._memory.tick(self._clocks())
                    end_s = self._memory.next_s()
                    left_s = _LOOK_EVERY_S if end_s is None else end_s - self._memory.now_s(self._clocks())
                    wait_s = min(max(left_s, 0.0), _LOOK_EVERY_S)
                except FadeoutBrokerError as err:
                    self._failed(err)
                    wait_s = _RETRY_S

    def _died(self, err: Exception) -> None:
        """Take in that one of our threads ends by a bug: the program must not go on as if we still forgot."""
        with self._news:
            self._fatal = err
            self._news.notify_all()

    def _connection_changed(self) -> None:
        if not self._connection.is_up:
            with self._turn:
                self._memory.disconnected()
        self._tell({} if self._connection.is_up else self.devices)

    def _tell(self, changed: Mapping[str, Device]) -> None:
        with self._news:
            self._news.notify_all()
        if self._on_device is not None:
            for name, device in changed.items():
                try:
                    self._on_device(name, device)
                except Exception as err:  # noqa: BLE001 - raised again where the program asks
                    failure = CallbackError(f"on_device raised {type(err).__name__}")
                    failure.__cause__ = err
                    self._failed(failure)

    def _failed(self, err: FadeoutBrokerError) -> None:
        _log.error("%s", err)
        with self._news:
            self._failure = err
            self._news.notify_all()

    def _forget_derived(self, gone: Sequence[Gone]) -> None:
        if self._on_forget is None:
            return
        try:
            self._on_forget(gone)
        except Exception as err:
            raise CallbackError(f"on_forget raised {type(err).__name__}") from err

    def _acknowledge(self, node: str, ack: contract.Ack) -> None:
        if self._consumer is not None:
            topic = f"{contract.prefix_of(node)}erase/ack/{self._consumer}"
            self._connection.publish(topic, msgspec.json.encode(ack))


def _fitting(name: str | None, kind: object, what: str) -> str | None:
    try:
        fitting: str | None = msgspec.convert(name, kind | None)  # type: ignore[operator]  # because Annotated has no |
    except msgspec.ValidationError as err:
        raise SettingsError(
            f"{what}: {str(err).lower()}", "small letters, digits, - and _; at most 32"
        ) from err
    return fitting
