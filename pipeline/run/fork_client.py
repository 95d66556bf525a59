"""A worker's command: asks the fork server to start one, and ends as it ends. Run as a script, for speed.

    python -I -S fork_client.py FOLDER

The server's socket lies in FOLDER. Ends with the worker's exit code, 128 and the signal's number where it was
killed; with 1 where the server is gone.
"""

import json
import os
import socket
import sys

# What Beam tells a worker of itself in its environment.
NAMES = ("WORKER_ID", "CONTROL_API_SERVICE_DESCRIPTOR", "LOGGING_API_SERVICE_DESCRIPTOR", "PIPELINE_OPTIONS")
SOCKET_NAME = "workers"


def address(folder: int) -> str:
    """The socket's, short enough for any folder, which is given by a descriptor of it."""
    return f"/proc/self/fd/{folder}/{SOCKET_NAME}"


def main() -> None:
    """Ask, wait, and end with the worker's code."""
    folder = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address(folder))
        server.sendall(json.dumps({name: os.environ[name] for name in NAMES}).encode() + b"\n")
        with server.makefile() as answers:
            code = answers.readline()
    sys.exit(int(code) if code else 1)


if __name__ == "__main__":
    main()
