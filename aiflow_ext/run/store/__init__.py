"""What is on disk of a run, and who may change it: records, the SQLite store, the ledger, locks, folders.

``ledger`` alone changes records, by what ``reconcile`` decides. Knows nothing of plans, plugins or drivers.
"""
