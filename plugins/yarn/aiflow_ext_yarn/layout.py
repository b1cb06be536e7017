"""The names in a container's folder."""

from __future__ import annotations

MASTER, BUNDLE, PAYLOAD, SPEC_FILE, REASON = "aiflow-am.pyz", "bundle", "payload.json", "spec.json", "reason"
CA, WORK, PROGRESS = "ca.pem", "work", "progress"
# Names that files and archives of a job cannot have: ours, and YARN's.
RESERVED = frozenset({MASTER, BUNDLE, PAYLOAD, SPEC_FILE, REASON, PROGRESS, CA, WORK, "tmp", "launch_container.sh",
                      "container_tokens", "default_container_executor.sh",
                      "default_container_executor_session.sh"})  # fmt: skip
# What a NodeManager unpacks, by the name's end: org.apache.hadoop.yarn.util.FSDownload.
ARCHIVES = (".tar.gz", ".tgz", ".zip", ".tar", ".jar")
