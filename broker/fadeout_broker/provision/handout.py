"""What people are given with the files: where each goes, and the settings with it. Text from values."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import PurePosixPath


class Address(NamedTuple):
    """Where clients find the broker."""

    host: str
    port: int


def device_settings(node: str, address: Address, folder: PurePosixPath) -> str:
    """Return the `[mqtt]` table of a device whose files will be in `folder`."""
    return "\n".join(
        [
            "# For the device's fadeout.toml: put these lines in its [mqtt] table.",
            "[mqtt]",
            f"host = {_toml(address.host)}",
            f"port = {address.port}",
            f"node = {_toml(node)}",
            "tls = true",
            f"ca_file = {_toml(str(folder / 'ca.crt'))}",
            f"cert_file = {_toml(str(folder / 'client.crt'))}",
            f"key_file = {_toml(str(folder / 'client.key'))}",
            "",
        ]
    )


def subscriber_settings(name: str, address: Address) -> str:
    """Return what a subscriber's program has to be told."""
    return textwrap.dedent(f"""\
        How {name} reaches the broker:

          host                {address.host}
          port                {address.port}
          protocol            MQTT 5, TLS 1.3
          CA                  ca.crt
          client certificate  client.crt
          client key          client.key
          user name           none; the broker takes it from the certificate: {name}

        It acknowledges erasures on fadeout/<node>/erase/ack/{name}

        To see that it works, in this folder:

          fadeout-broker check --host {address.host} --port {address.port} --tls \\
            --ca-file ca.crt --cert-file client.crt --key-file client.key

        Home Assistant asks for the three files when the MQTT integration is added: switch on advanced
        options, then "Use a client certificate", and for the CA choose "Custom".
        """)


def readme(folder: PurePosixPath, device_folder: PurePosixPath) -> str:
    """Return DIR/README: where each file goes.

    Args:
        folder: where the broker's files will be on its machine.
        device_folder: where a device's files will be on it.
    """
    return textwrap.dedent(f"""\
        A broker for fadeout. docs/broker.md tells what each line is for. This folder holds keys: keep it to
        yourself, on a machine that is neither the broker nor a device.

        THE BROKER (Debian, Raspberry Pi OS: sudo apt install mosquitto). Copy broker/ there, then beside it:

          sudo install -d -o root -g mosquitto -m 0750 {folder}
          sudo install -o root -g mosquitto -m 0640 broker/* {folder}/
          sudo mv {folder}/fadeout.conf /etc/mosquitto/conf.d/fadeout.conf
          sudo systemctl restart mosquitto

        /etc/mosquitto/mosquitto.conf includes all of /etc/mosquitto/conf.d/*.conf: that is all.

        A DEVICE. fadeout-broker add-device DIR NODE makes devices/NODE. Copy it to the device, then in it:

          sudo install -d -m 0755 {device_folder}
          sudo install -m 0644 ca.crt client.crt {device_folder}/
          sudo install -o USER -m 0600 client.key {device_folder}/     USER is whom fadeout runs as

        and put the lines of mqtt.toml in its fadeout.toml. fadeout-broker check --config FILE --role device
        tries everything out. Then delete client.key here: only the device needs it.

        A SUBSCRIBER. fadeout-broker add-subscriber DIR NAME makes subscribers/NAME, and a new broker/acl,
        which goes to the broker:

          sudo install -o root -g mosquitto -m 0640 broker/acl {folder}/
          sudo systemctl reload mosquitto

        REVOKED, ROTATED. After revoke and rotate, broker/acl and broker/ca.crl go to the broker as above, and
        then: sudo systemctl restart mosquitto. After rotate DIR broker: broker/broker.crt and
        broker/broker.key, and then: sudo systemctl reload mosquitto

        THE AUTHORITY. ca/ca.key can sign a certificate for anybody. Only add-device, add-subscriber, rotate
        and revoke need it; move it to a stick in a drawer, and put it back for these.
        """)


def _toml(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which no path has.
    return json.dumps(text, ensure_ascii=False)
