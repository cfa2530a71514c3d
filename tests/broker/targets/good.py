"""A subscriber that keeps what it hears with our library."""

import os
import sys

from fadeout_broker.subscriber import Subscriber

with Subscriber(
    "good",
    host=os.environ["FADEOUT_BROKER_HOST"],
    port=int(os.environ["FADEOUT_BROKER_PORT"]),
    database=sys.argv[1],
) as house:
    for _event in house:
        pass
