"""The driver of a run: it submits what is ready, follows what runs, and tells extensions.

``driver`` is the loop. ``platform_thread`` and ``platform_inline`` bring its calls to the platforms, and their events
back. Everything else here serves that loop alone.
"""
