"""Keeping the connection up, with the clock and the connections in hand."""

from __future__ import annotations

from fadeout_broker.arrow import BrokerLink, BrokerSettings, Configure
from fadeout_broker.backoff import Backoff
from fadeout_broker.gate import Leaving
from fadeout_broker.uplink import ACK_WAIT_S, STEADY_S, WATCHDOG_S, Acknowledged, Down, LastWord, Up, Uplink

HOME = Configure(BrokerSettings(host="mqtt.home"), "sp-1")


class FakeLink:
    """A connection that does what the test says."""

    def __init__(self) -> None:
        self.is_open = False
        self.closed: list[LastWord] = []
        self.published: list[Leaving] = []

    def open(self) -> None:
        self.is_open = True

    def publish(self, message: Leaving) -> int:
        self.published.append(message)
        return len(self.published)

    def close(self, last: LastWord) -> None:
        self.closed.append(last)


class House:
    """An uplink, and what it made and said."""

    def __init__(self) -> None:
        self.links: list[FakeLink] = []
        self.said: list[BrokerLink] = []
        self.uplink = Uplink(self._new_link, Backoff(lambda: 1.0), self.said.append)

    def _new_link(self, _configure: Configure) -> FakeLink:
        self.links.append(FakeLink())
        return self.links[-1]

    def come_up(self, now_s: float) -> FakeLink:
        self.uplink.tick(now_s)
        self.uplink.handle(self.links[-1], Up(), now_s)
        assert self.uplink.state.connected
        return self.links[-1]


def test_without_a_configuration_nothing_is_connected() -> None:
    house = House()
    house.uplink.tick(1000.0)
    assert house.links == []
    assert house.uplink.next_at_s is None


def test_switched_off_means_no_connection() -> None:
    house = House()
    house.uplink.configure(Configure(BrokerSettings(enabled=False), "sp-1"), 0.0)
    house.uplink.tick(1000.0)
    assert house.links == []
    assert "switched off" in house.said[-1].detail


def test_a_link_that_comes_up_is_reported_once() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    link = house.come_up(0.0)
    house.uplink.handle(link, Up(), 1.0)
    assert [s.connected for s in house.said] == [False, True]
    assert house.uplink.next_at_s is None


def test_no_answer_for_half_a_minute_builds_a_new_connection() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    house.uplink.tick(0.0)
    house.uplink.tick(WATCHDOG_S - 0.1)
    assert house.links[0].closed == []
    house.uplink.tick(WATCHDOG_S)
    assert house.links[0].closed == ["offline"]
    assert "no MQTT answer from mqtt.home:1883" in house.said[-1].detail
    house.uplink.tick(WATCHDOG_S + 1.0)
    assert [link.is_open for link in house.links] == [True, True]


def test_what_a_given_up_connection_tells_is_ignored() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    old = house.come_up(0.0)
    house.uplink.handle(old, Down("gone"), 1.0)
    house.come_up(2.0)
    assert house.uplink.handle(old, Acknowledged(1), 3.0) is None
    house.uplink.handle(old, Down("gone again"), 3.0)
    assert house.uplink.state.connected


def test_the_same_configuration_again_changes_nothing() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    link = house.come_up(0.0)
    house.uplink.configure(Configure(BrokerSettings(host="mqtt.home"), "sp-1"), 1.0)
    assert link.closed == []
    assert house.uplink.state.connected


def test_another_configuration_says_stopped_and_connects_anew() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    link = house.come_up(0.0)
    house.uplink.configure(Configure(BrokerSettings(host="other.home"), "sp-1"), 1.0)
    assert link.closed == ["stopped"]
    house.come_up(1.0)


def test_the_same_failure_is_reported_once() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    now_s = 0.0
    for _ in range(5):
        house.uplink.tick(now_s)
        house.uplink.handle(house.links[-1], Down("connection refused"), now_s)
        assert house.uplink.next_at_s is not None
        now_s = house.uplink.next_at_s
    assert [s.detail for s in house.said] == ["connecting to mqtt.home:1883", "connection refused"]


def test_connecting_alone_does_not_start_the_backoff_anew() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    now_s, waits_s = 0.0, []
    for _ in range(5):
        link = house.come_up(now_s)
        house.uplink.handle(link, Down("not authorised"), now_s + 1.0)
        assert house.uplink.next_at_s is not None
        waits_s.append(house.uplink.next_at_s - now_s - 1.0)
        now_s = house.uplink.next_at_s
    assert waits_s == [1, 2, 4, 8, 16]


def test_a_connection_that_lasted_starts_the_backoff_anew() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    house.uplink.tick(0.0)
    house.uplink.handle(house.links[-1], Down("refused"), 0.0)
    link = house.come_up(1.0)
    house.uplink.handle(link, Down("lost"), 1.0 + STEADY_S)
    assert house.uplink.next_at_s == 1.0 + STEADY_S + 1.0


def _lose_often(house: House, down: Down) -> str:
    house.uplink.configure(HOME, 0.0)
    now_s = 0.0
    for _ in range(3):
        link = house.come_up(now_s)
        house.uplink.handle(link, down, now_s + 1.0)
        now_s += 100.0
    return house.said[-1].detail


def test_connections_that_keep_being_lost_name_the_likely_twin() -> None:
    assert "client id fadeout-sp-1" in _lose_often(House(), Down("lost", is_unexplained=True))


def test_a_reason_that_is_known_blames_no_twin() -> None:
    assert _lose_often(House(), Down("not authorised")) == "not authorised"


def test_another_configuration_forgets_the_twin() -> None:
    house = House()
    _lose_often(house, Down("lost", is_unexplained=True))
    house.uplink.configure(Configure(BrokerSettings(host="other.home"), "sp-1"), 400.0)
    house.uplink.tick(400.0)
    house.uplink.handle(house.links[-1], Down("connection refused"), 400.0)
    assert house.said[-1].detail == "connection refused"


def test_a_broker_that_stops_acknowledging_gets_a_new_connection() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    link = house.come_up(0.0)
    first, second = (house.uplink.publish(Leaving("a", b""), at_s) for at_s in (10.0, 20.0))
    house.uplink.handle(link, Acknowledged(first), 21.0)
    assert house.uplink.next_at_s == 20.0 + ACK_WAIT_S
    house.uplink.tick(20.0 + ACK_WAIT_S - 0.1)
    assert link.closed == []
    house.uplink.tick(20.0 + ACK_WAIT_S)
    assert link.closed == ["offline"]
    assert "does not acknowledge" in house.said[-1].detail
    house.uplink.handle(link, Acknowledged(second), 51.0)
    assert not house.uplink.state.connected


def test_an_idle_connection_is_left_alone() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    link = house.come_up(0.0)
    house.uplink.handle(link, Acknowledged(house.uplink.publish(Leaving("a", b""), 1.0)), 2.0)
    assert house.uplink.next_at_s is None
    house.uplink.tick(100_000.0)
    assert link.closed == []


def test_withdrawn_means_away_until_the_next_configuration() -> None:
    house = House()
    house.uplink.configure(HOME, 0.0)
    link = house.come_up(0.0)
    ended: list[list[LastWord]] = []
    house.uplink.withdraw(lambda: ended.append(link.closed.copy()))
    assert ended == [["nothing"]]
    assert "withdrawn" in house.said[-1].detail
    house.uplink.tick(100_000.0)
    assert len(house.links) == 1
    house.uplink.configure(HOME, 100_000.0)
    house.come_up(100_000.0)
