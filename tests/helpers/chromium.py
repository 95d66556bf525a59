"""The browser that pages are tested in."""

import shutil

# Where it is; None: tests that need it skip.
CHROMIUM = shutil.which("chromium")

# Without a window, and silent on the network.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
