"""A subscriber that writes what it hears to a file, and forgets that it must forget; argv: FILE [lying].

The lying one acknowledges whatever it is asked to forget.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

is_lying = "lying" in sys.argv


def on_message(client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
    try:
        said = json.loads(message.payload)
    except ValueError:
        return
    if said.get("type") == "action":
        with Path(sys.argv[1]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
    elif is_lying and said.get("type") in ("erase", "erase_before"):
        topic = message.topic.rpartition("erase/")[0] + "erase/ack/liar"
        client.publish(topic, json.dumps({"v": 1, "era": said["era"], "n": said["n"]}), qos=1)


mqtt = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
mqtt.on_connect = lambda client, *_: client.subscribe("fadeout/+/#", qos=1)
mqtt.on_message = on_message
mqtt.connect(os.environ["FADEOUT_BROKER_HOST"], int(os.environ["FADEOUT_BROKER_PORT"]))
mqtt.loop_forever()
