"""What the documents are about: every shape of the contract, where it goes, and an example of each."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

import msgspec
from contract_documents.docstrings import Source

from fadeout_broker import contract, payloads, requests, vocabulary

SOURCE = Source((vocabulary, payloads, requests))

_ID, _OTHER_ID = "4jp5ge6chr2ll1h6", "0qd8m2ue1s9c5a7k"
_ERA = "k3t0v9dm"
# The first test key of RFC 8032, section 7.1, and what it signed.
_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
_SIGNATURE = (
    "c77fcabd4721750ae578033ec866d0fc9eed96bcb53c098d54229015f8b8bcbf"
    "717f2323de148392423aac8dfcd7288c9155c4f2421041a35e6e04f9aa64360c"
)

EXAMPLES: dict[type[msgspec.Struct], tuple[contract.Outgoing | contract.Request | contract.Ack, ...]] = {
    contract.ActionEvent: (
        contract.ActionEvent(v=1, id=_ID, action="light.on", outcome="served", ttl=86400),
        contract.ActionEvent(v=1, id=_OTHER_ID, action="none", outcome="failed", ttl=600),
    ),
    contract.EraseNotice: (contract.EraseNotice(v=1, era=_ERA, n=12, ids=(_ID,)),),
    contract.EraseBefore: (
        contract.EraseBefore(v=1, era=_ERA, n=12, since=11, ids=(_OTHER_ID, _ID)),
        contract.EraseBefore(v=1, era=_ERA, n=0, since=1, ids=()),
    ),
    contract.AlarmEvent: (contract.AlarmEvent(v=1, alarm="canary", on=True),),
    contract.ReceiptEvent: (
        contract.ReceiptEvent(
            v=1, n=418, items=2, reason="expired", hour=1795906800, root="file", key=_KEY,
            signature=_SIGNATURE, ttl=86400,
        ),
    ),
    contract.DeviceState: (
        contract.DeviceState(
            v=1, listening=True, muted=False, held=2, overdue=0, sweep="ok", swept=1795907700,
            next_end=1795910400, forgetting=True,
        ),
    ),
    contract.Info: (
        contract.Info(v=1, sw="0.1.0", mode="prompt", actions=("light.on", "light.off"), commands=True,
            result_s=0),
    ),
    contract.PolicyNow: (
        contract.PolicyNow(
            v=1,
            hash="94ae4ccb64816a47b81eef42938acf7627e6a6c31f18ebb1a4d9bc0e94e5929a",
            document=contract.PolicyDocument(
                canary_s=21600, ceiling_s=2592000, debug_capture_lasts_s=3600, debug_capture_s=None,
                ledger_ceiling_s=31536000, ledger_s=7776000, max_size_bytes=512000000, quiet_hours=None,
                rules={
                    "served.action": contract.PolicyRule(
                        ends_on_update=False, keep_s=86400, purpose="tell subscribers what happened"
                    ),
                    "served.audio": contract.PolicyRule(ends_on_update=False, keep_s=None, purpose=""),
                },
                v=1,
            ),
        ),
    ),
    contract.Cover: (contract.Cover(v=1),),
    contract.Reply: (
        contract.Reply(
            v=1, command="erase", status="ok", transaction="a-1", data=contract.ReplyData(erased=2)
        ),
        contract.Reply(v=1, command="unknown", status="error", error="unknown_command"),
    ),
    contract.MuteRequest: (contract.MuteRequest(transaction="a-1"),),
    contract.EraseRequest: (
        contract.EraseRequest(ids=(_ID,), transaction="a-2"),
        contract.EraseRequest(last_minutes=60),
        contract.EraseRequest(all=True),
    ),
    contract.ShortenRequest: (contract.ShortenRequest(keep_s=3600, outcome="failed", kind="audio"),),
    contract.ResultRequest: (contract.ResultRequest(id=_ID, result="failed", transaction="a-4"),),
    contract.PingRequest: (contract.PingRequest(transaction="a-3"),),
    contract.Ack: (contract.Ack(v=1, era=_ERA, n=12),),
}  # fmt: skip


def as_sent(example: msgspec.Struct) -> dict[str, Any]:
    """Return an example as JSON has it; in a request, without what may be left out and says nothing."""
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(example))
    if not isinstance(example, payloads.Payload):
        for field in msgspec.structs.fields(example):
            if not field.required and getattr(example, field.name) == field.default:
                del fields[field.name]
    return fields


class Shape(NamedTuple):
    """One struct that crosses the border of the device."""

    struct: type[msgspec.Struct]
    name: str
    """`action`, `cmd-mute`, `erase-ack`: its schema's file name, and its name in AsyncAPI."""
    topic: str
    """After `fadeout/<node>/`."""
    tag: str | None
    """Its `type`; None: it comes in, and has none."""

    @property
    def text(self) -> str:
        """What it is."""
        return " ".join((self.struct.__doc__ or "").split())

    @property
    def examples(self) -> tuple[msgspec.Struct, ...]:
        """Some of it."""
        return EXAMPLES[self.struct]


OUTGOING = tuple(
    Shape(kind, str(kind.__struct_config__.tag), kind.topic, str(kind.__struct_config__.tag))
    for kind in contract.OUTGOING
)
INCOMING = (
    *(Shape(kind, f"cmd-{kind.name}", f"cmd/{kind.name}", None) for kind in get_args(contract.Request)),
    Shape(contract.Ack, "erase-ack", "erase/ack/<consumer>", None),
)
SHAPES = OUTGOING + INCOMING
