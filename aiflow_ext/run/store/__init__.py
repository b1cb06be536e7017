"""The data of runs on disk: records, the SQLite store, the ledger, locks, folders.

Only ``ledger`` changes records, by the decisions of ``reconcile``. ``store.Store`` has the runs; ``transitions``,
``deliveries``, ``requests`` and ``firings`` are parts of it. All are in one ``database``, whose tables ``schema``
defines. This package does not know plans, plugins or drivers.
"""
