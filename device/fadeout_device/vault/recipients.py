"""Who may be exported to: names and age public keys, enrolled by somebody at the device.

A recipient counts once its fingerprint was read back: until then a key that was
pasted from the wrong place, or changed on its way, opens nothing. The vault keeps the
list, so that whoever reaches only the command's socket for a moment cannot name a key
of his own and have everything in one breath; and so that the list outlives a restart.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.errors import FadeoutError, UsageError
from fadeout_device.vault import age_key

if TYPE_CHECKING:
    from fadeout_device.vault.index import Index

MOST_RECIPIENTS = 16
"""A household and its helpers; a list that people can look through before they add to it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_SEPARATORS = re.compile(r"[\s:]")


class RecipientError(FadeoutError):
    """There is no such recipient, or its key was not read back."""

    exit_code = os.EX_NOUSER


class Recipient(NamedTuple):
    """Somebody who may be given an export."""

    name: str
    key: str
    """Public: `age1…`."""
    is_confirmed: bool

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of the key's SHA-256."""
        return age_key.fingerprint(self.key)


class Recipients:
    """The list, in the index."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def all(self) -> list[Recipient]:
        """Return everybody, by name."""
        with self._index.transaction():
            rows = self._index.db.table("recipient").rows_where(order_by="name")
            return [Recipient(row["name"], row["key"], bool(row["is_confirmed"])) for row in rows]

    def add(self, name: str, key: str) -> Recipient:
        """Put somebody on the list, unconfirmed. The same name and key again change nothing.

        Raises:
            UsageError: no name, no key, already there, or the list is full.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"not a recipient's name: {name}", "allowed: a-z, 0-9, - and _, at most 40")
        age_key.check(key)
        known = self.all()
        for recipient in known:
            if (recipient.name, recipient.key) == (name, key):
                return recipient
            if recipient.name == name:
                raise UsageError(
                    f"there is a recipient {name} with another key",
                    f"choose another name, or first: fadeout recipients remove {name}",
                )
            if recipient.key == key:
                raise UsageError(f"this key is enrolled as {recipient.name}", "use that name")
        if len(known) >= MOST_RECIPIENTS:
            raise UsageError(
                f"there are {len(known)} recipients, and no more are taken",
                "remove one: fadeout recipients list, fadeout recipients remove NAME",
            )
        added = Recipient(name, key, is_confirmed=False)
        with self._index.transaction():
            self._index.db.table("recipient").insert({**added._asdict(), "is_confirmed": 0})
        return added

    def confirm(self, name: str, fingerprint: str) -> Recipient:
        """Confirm a recipient by the fingerprint that a person has read.

        Raises:
            RecipientError: no such recipient, or another fingerprint.
        """
        recipient = self._named(name)
        if _SEPARATORS.sub("", fingerprint).lower() != recipient.fingerprint:
            raise RecipientError(
                f"that is not the fingerprint of recipient {name}, who stays unconfirmed",
                "compare it with: printf %s KEY | sha256sum, where the key was made; if it is another,"
                f" fadeout recipients remove {name}",
            )
        with self._index.transaction():
            self._index.db.execute("UPDATE recipient SET is_confirmed = 1 WHERE name = ?", [name])
        return recipient._replace(is_confirmed=True)

    def remove(self, name: str) -> Recipient:
        """Take somebody off the list. Raises RecipientError: there is no such recipient."""
        recipient = self._named(name)
        with self._index.transaction():
            self._index.db.execute("DELETE FROM recipient WHERE name = ?", [name])
        return recipient

    def confirmed(self, name: str) -> Recipient:
        """Return somebody who may be exported to.

        Raises:
            RecipientError: there is no such recipient, or it was not confirmed.
        """
        recipient = self._named(name)
        if not recipient.is_confirmed:
            raise RecipientError(
                f"recipient {name} is not confirmed: nobody has read its fingerprint back",
                f"fadeout recipients confirm {name} FINGERPRINT",
            )
        return recipient

    def _named(self, name: str) -> Recipient:
        for recipient in self.all():
            if recipient.name == name:
                return recipient
        raise RecipientError(
            f"no recipient {name} is enrolled", "fadeout recipients list; fadeout recipients add NAME age1…"
        )
