"""How long tests wait for what comes: a limit for what never would, and no measure of how fast anything is."""

PATIENCE = (
    300.0  # seconds in which a command, a thread or an event has come to its end, on a machine that does much else
)
