"""Long work in short steps; other requests are answered between the steps."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

from starlette.responses import Response

# A step ends where the generator yields: None to let others in, or a function that is called in a
# thread, without the lock, and whose result is sent back. What it returns at last is the answer.
Steps = Generator[Callable[[], Any] | None, Any, Response]
Answer = Response | Steps

THREAD_BYTES_MIN = 1_000_000  # smaller bodies are taken apart at once


async def take_steps(steps: Steps, lock: AbstractContextManager[Any]) -> Response:
    """The answer. Each step holds the lock; what runs in a thread does not."""
    outcome: Any = None
    try:
        while True:
            with lock:
                wanted = steps.send(outcome)
            outcome = None
            if wanted is None:
                await asyncio.sleep(0)
            else:
                outcome = await asyncio.to_thread(wanted)
    except StopIteration as end:
        answer: Response = end.value
        return answer
    finally:
        steps.close()
