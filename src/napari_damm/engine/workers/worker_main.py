"""The program of a local worker process: `python -m napari_damm.engine.workers.worker_main`.

1. Read a `TaskSpec` from standard input, load the model, open the store, answer "ready".
2. Every few seconds (the argument) say "alive", whatever goes on.
3. For every `Shard` that follows: compute it, telling steps, and answer with its report or with
   the exception that stopped it.
4. End when standard input ends, which it also does when the coordinator dies, in the middle of a
   shard too: what is written then is in no journal, so it was never written.

Messages are pickles on pipes between a process and the child it started itself.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import time
from typing import Any, BinaryIO

READY, ALIVE, STEPS, REPORT, ERROR = "ready", "alive", "steps", "report", "error"

_writing = threading.Lock()


def send(stream: BinaryIO, kind: str, value: Any = None) -> None:
    """Write one message."""
    try:
        data = pickle.dumps((kind, value))
        if kind == ERROR:
            pickle.loads(data)
    except Exception:  # an exception of a library that does not pickle, or not come back
        data = pickle.dumps((kind, RuntimeError(f"{type(value).__name__}: {value}")))
    with _writing:
        stream.write(data)
        stream.flush()


def main() -> None:
    """Serve until standard input ends."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # whatever a library prints must not get between the messages
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    source = sys.stdin.buffer
    shards: queue.SimpleQueue[Any] = queue.SimpleQueue()
    interval_s = float(sys.argv[1])
    threading.Thread(target=_give_signs_of_life, args=(out, interval_s), daemon=True).start()
    try:
        # Late: importing it takes seconds, in which there are signs of life already.
        from napari_damm.engine.workers.shard import Worker

        worker = Worker(pickle.load(source))
    except Exception as error:
        send(out, ERROR, error)
        return
    threading.Thread(target=_listen, args=(source, shards), daemon=True).start()
    send(out, READY)
    while True:
        shard = shards.get()
        try:
            report = worker.compute(shard, lambda steps: send(out, STEPS, steps))
        except Exception as error:
            send(out, ERROR, error)
        else:
            send(out, REPORT, report)


def _give_signs_of_life(out: BinaryIO, interval_s: float) -> None:
    while True:
        send(out, ALIVE)
        time.sleep(interval_s)


def _listen(source: BinaryIO, shards: queue.SimpleQueue[Any]) -> None:
    """Pass shards on; at the end of the stream, end the process in the middle of anything."""
    while True:
        try:
            shards.put(pickle.load(source))
        except Exception:
            os._exit(0)


if __name__ == "__main__":
    main()
