"""How plugins are called, in this process or in an attempt host, and what they return.

Driver and commands call ``plugin_adapter``, which chooses between ``direct_adapter`` and ``hosted_adapter``;
``attempt_host`` runs in a process of its own.
"""
