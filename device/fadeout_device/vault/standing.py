"""What stands at the broker: the retained payloads that the vault keeps current.

How the device is, what it is, the policy that it enforces, and up to where it has
forgotten. Each is made anew from the vault itself whenever somebody asks, so that
none can say what is not so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fadeout_broker import contract
from fadeout_device import __version__

if TYPE_CHECKING:
    from fadeout_broker import arrow
    from fadeout_device.vault.service import Service

STATE_EVERY_S = 600.0
_SWEPT_GRID_S = 900
_END_GRID_S = 3600


class Standing:
    """Makes the payloads. The caller holds the service's lock."""

    def __init__(self, service: Service, settings: arrow.BrokerSettings) -> None:
        self._service = service
        self._info = contract.Info(
            v=contract.VERSION, sw=__version__, mode=settings.mode, actions=settings.actions or (),
            commands=settings.commands, result_s=service.result_s,
        )  # fmt: skip
        self._policy_now: tuple[bytes, contract.PolicyNow] | None = None

    def payloads(self) -> tuple[contract.Outgoing, ...]:
        """Return all of them; the watermark first, since what is to be forgotten lies before what follows."""
        return self.before(), self._info, self._policy(), self.state()

    def before(self) -> contract.EraseBefore:
        """Return up to where everything that had to be forgotten was told."""
        mark = self._service.store.outbox.notices.watermark()
        return contract.EraseBefore(
            v=contract.VERSION, era=mark.era, n=mark.n, since=mark.since, ids=mark.ids
        )

    def _policy(self) -> contract.PolicyNow:
        policy = self._service.store.policy
        if self._policy_now is None or self._policy_now[0] != policy.document:
            document = msgspec.json.decode(policy.document, type=contract.PolicyDocument)
            now = contract.PolicyNow(v=contract.VERSION, hash=policy.hash, document=document)
            self._policy_now = policy.document, now
        return self._policy_now[1]

    def state(self) -> contract.DeviceState:
        """Return how the device is; times are coarse."""
        service = self._service
        sweep = {"ok": "ok", "none yet": "none"}.get(service.sweeps.outcome, "failed")
        overdue = service.store.eraser.overdue()
        swept_s, next_end_s = service.sweeps.last_s, service.store.index.next_end_s(canaries=False)
        return contract.DeviceState(
            v=contract.VERSION,
            listening=service.ear is not None and service.ear.listening,
            muted=service.privacy.is_muted,
            held=service.held(),
            overdue=overdue,
            sweep=sweep,  # type: ignore[arg-type]  # one of three words, checked again on the way out
            swept=None if swept_s is None else int(swept_s) // _SWEPT_GRID_S * _SWEPT_GRID_S,
            next_end=None if next_end_s is None else -(-next_end_s // _END_GRID_S) * _END_GRID_S,
            forgetting=not service.alarms.on and not overdue and sweep != "failed",
        )
