"""Finds, checks and calls plugins: metadata show what is installed, and a plugin is imported when it is resolved.

Other packages use: ``Policy`` (here), ``host.PluginHost`` and ``host.plugins``, ``records.PluginRecord``,
``resolve.ResolvedPlugin``, ``extensions.Extensions``, ``explain.Explanation``, ``examine.Examination``,
``decisions.Decision``, ``isolated.call_each``, ``schema.schemas``, ``registry.register_*`` and ``specs`` (what a plugin
author implements). Nothing heavy is imported by importing any of host, records, policy or registry.
"""

from aiflow_ext.host.policy import Policy as Policy
