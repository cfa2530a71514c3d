"""How the vault is: what `fadeout status` shows. The caller holds the service's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fadeout_device import __version__
from fadeout_device.answers import StatusReport
from fadeout_device.vault import switches
from fadeout_device.vault.ear_line import EAR_AWAY, light_in_words
from fadeout_device.vault.envelope import warnings as envelope_warnings

if TYPE_CHECKING:
    from fadeout_broker.arrow import Incoming
    from fadeout_device.vault.service import Service


def report(service: Service) -> StatusReport:
    """Return how the vault is."""
    ear = service.ear or EAR_AWAY
    return StatusReport(
        version=__version__,
        policy_hash=service.store.policy.hash,
        listening=ear.listening,
        source=ear.source,
        wake_words=ear.wake_words,
        problem=ear.problem,
        overflows=ear.overflows,
        behind=ear.behind,
        reopened=ear.reopened,
        clipped=ear.clipped,
        level_dbfs=ear.level_dbfs,
        spared_percent=ear.spared_percent,
        dropped=ear.dropped,
        recogniser=ear.recogniser,
        voice=ear.voice,
        light=light_in_words(service.light),
        ear="away" if service.ear is None else "connected",
        reporter="connected" if service.is_reporter_here else "away",
        broker=service.broker,
        commands=_reach(service.incoming),
        departure=service.store.outbox.departure,
        result_s=service.result_s,
        dropped_payloads=service.dropped_payloads,
        unsent_events=service.store.outbox.count(),
        held=service.held(),
        held_bytes=service.store.index.live_size_bytes(),
        max_size_bytes=service.store.policy.max_size_bytes,
        modes=switches.shown(service),
        canaries=service.canaries,
        alarms=tuple(f"{alarm}: {why}" for alarm, why in service.alarms.on.items()),
        warnings=envelope_warnings(service.store),
        overdue=service.store.eraser.overdue(),
        next_end_s=service.store.index.next_end_s(canaries=False),
        last_sweep_s=service.sweeps.last_s,
        last_sweep=service.sweeps.outcome,
        clock=service.store.timekeeper.report(),
        ledger_entries=service.store.ledger.count(),
        ledger_key=service.store.ledger.public_key,
        root_store=service.store.roots.name,
        root_protects=service.store.roots.protects,
        root_does_not=service.store.roots.does_not,
        network=service.confinement.network,
        memory=service.confinement.memory,
    )


def _reach(incoming: Incoming | None) -> str:
    if incoming is None:
        return ""
    return "reach us" if incoming.works else f"do not reach us: {incoming.detail or 'nobody knows why'}"
