"""The page of runs: a server on this machine's loopback address, and what a browser runs of it (``static``).

It reads the stores of the user's projects and does what the commands do, by the same functions; nothing needs it.

Others may use: ``serve``, which needs the extra ``ui`` (Starlette and uvicorn).
"""
