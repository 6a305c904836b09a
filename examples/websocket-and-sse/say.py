"""Say something into a WebSocket and print what comes back.

python examples/websocket-and-sse/say.py URL HOST WORD...
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import ClientError, ClientSession


async def say(url: str, host: str, words: list[str]) -> None:
    """Send each word, wait for its echo, print it."""
    async with ClientSession() as session, session.ws_connect(url, headers={"Host": host}) as socket:
        for word in words:
            await socket.send_str(word)
            print(await socket.receive_str(timeout=10))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(f"usage: {sys.argv[0]} URL HOST WORD...")
    try:
        asyncio.run(say(sys.argv[1], sys.argv[2], sys.argv[3:]))
    except ClientError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
