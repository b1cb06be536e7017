"""What is on disk of a run, and who may change it: records, the SQLite store, the ledger, locks, folders.

``ledger`` alone changes records, by what ``reconcile`` decides. ``store.Store`` keeps runs, and what else is kept is in
its parts: ``transitions``, ``deliveries``, ``requests``, ``firings``; all in one ``database``, whose tables ``schema``
describes. Knows nothing of plans, plugins or drivers.
"""
