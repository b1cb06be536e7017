"""The driver of a run: it submits jobs that are ready, follows those that run, and notifies extensions.

``driver`` is the loop; other packages use only it and ``start_intents``. Its parts share a ``DriverState``, and each
calls only those before it: ``commit`` and ``state``, ``scheduler`` (which jobs may start; by
``order`` and ``admission``), ``cleanup``, ``ends`` (with ``retries``), ``stopping``, ``submission``, ``events``,
``starting`` (with ``prefetch``), ``recovery``. ``platform_thread`` (with ``call_pool``) and ``platform_inline`` bring
their calls to the platforms, and the events back.
"""
