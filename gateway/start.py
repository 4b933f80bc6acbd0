"""What the command `tessera`, and each worker that it starts, import first.

Next to nothing of what importing makes is garbage, and looking for it took a fifth of a start.
"""

import gc

gc.disable()

from gateway import cli  # noqa: E402  # once nobody looks

gc.enable()

main = cli.main
