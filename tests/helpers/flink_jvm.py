"""For Flink in tests: JVMs that are up quickly, and Flink's patience with a machine that is busy with other tests."""

from __future__ import annotations

# A variable that every JVM reads. What one does here is mostly to load Flink's classes: without a check of their code
# a cluster and one SQL program take 9.4 seconds of the processor, and 10.9 with it.
ENV = {
    "JAVA_TOOL_OPTIONS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+UnlockDiagnosticVMOptions "
    "-XX:-BytecodeVerificationRemote"
}
PATIENT = dict.fromkeys(("pekko.ask.timeout", "pekko.startup-timeout", "heartbeat.timeout"), "5 min")
