"""A Wyoming speech-to-text server made of the `wyoming` package: hears nothing, and says what it was told.

usage: wyoming_server.py SOCKET TEXT HEARD.json
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStop
from wyoming.server import AsyncEventHandler, AsyncServer

if TYPE_CHECKING:
    from wyoming.event import Event


class Handler(AsyncEventHandler):
    """One connection."""

    def __init__(self, *arguments: Any, text: str, heard: Path) -> None:  # noqa: ANN401 - the package's own
        super().__init__(*arguments)
        self._text = text
        self._path = heard
        self._heard: dict[str, Any] = {"bytes": 0, "sum": 0}

    async def handle_event(self, event: Event) -> bool:
        """Count audio; answer its end."""
        if Transcribe.is_type(event.type):
            self._heard["language"] = Transcribe.from_event(event).language
        elif AudioChunk.is_type(event.type):
            chunk = AudioChunk.from_event(event)
            self._heard |= {"rate": chunk.rate, "width": chunk.width, "channels": chunk.channels}
            self._heard["bytes"] += len(chunk.audio)
            self._heard["sum"] += sum(chunk.audio)
        elif AudioStop.is_type(event.type):
            self._path.write_text(json.dumps(self._heard))
            await self.write_event(Transcript(text=self._text).event())
        return True


async def main() -> None:
    """Serve until terminated."""
    path, text, heard = sys.argv[1:]
    server = AsyncServer.from_uri(f"unix://{path}")
    await server.run(partial(Handler, text=text, heard=Path(heard)))


asyncio.run(main())
