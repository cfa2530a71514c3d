"""For integrators: hear what devices do, and forget it when it must be forgotten.

    from fadeout_broker.subscriber import Subscriber

docs/subscribers.md has the five minutes. Imports nothing of the device's own side of the
broker, and nothing heavy.
"""

from fadeout_broker.errors import CallbackError, FadeoutBrokerError, SettingsError, StoreError
from fadeout_broker.subscriber.held import Counts, Device, Event, Gone
from fadeout_broker.subscriber.subscriber import Subscriber

__all__ = [
    "CallbackError",
    "Counts",
    "Device",
    "Event",
    "FadeoutBrokerError",
    "Gone",
    "SettingsError",
    "StoreError",
    "Subscriber",
]
