"""The extension ``notify``: an e-mail, or a webhook's message, for each attempt of a job that fails.

It is configured by variables of the process that drives a run; README.md lists them.
"""

from __future__ import annotations

import json
import os
import smtplib
import ssl
import time
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from http.client import InvalidURL

import aiflow_ext.plugin as af
from aiflow_ext.plugin import secrets

PREFIX = "AIFLOW_NOTIFY_"
TIMEOUT = 10.0  # seconds for one try
PAUSES = (1.0, 4.0)  # seconds before the second and the third try: nothing of a run waits for them but its end


class Notify:
    """Tells of failures by all ways that are configured."""

    @af.hookimpl
    def on_transition(self, event: af.Transition) -> None:
        if not event.state.failed:
            return
        ways: dict[str, Callable[[af.Transition], None]] = {"WEBHOOK": post, "SMTP": mail}
        problems = []
        for name, send in ways.items():
            if setting(name):
                try:
                    persist(send, event)
                except Exception as error:  # the other way is tried all the same
                    problems.append(f"{name.lower()}: {type(error).__name__}: {error}")
        if problems:
            raise RuntimeError("; ".join(problems))  # aiflow-ext shows it in `status`; the run goes on


def persist(send: Callable[[af.Transition], None], event: af.Transition) -> None:
    """Try it three times."""
    for pause in (*PAUSES, None):
        try:
            return send(event)
        except (OSError, smtplib.SMTPException):
            if pause is None:
                raise
            time.sleep(pause)


def post(event: af.Transition) -> None:
    """POST the event as JSON; ``text`` is what chat services show."""
    body = {"text": text_of(event), "run": event.run_id, "job": event.job, "attempt": event.attempt,
            "state": str(event.state), "reason": event.reason}  # fmt: skip
    url, headers = secret("WEBHOOK"), {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            pass
    except (ValueError, InvalidURL):  # their words repeat the URL, which is a secret
        raise ValueError(f"{PREFIX}WEBHOOK is not the URL of a webhook: it begins with http:// or https://") from None


def mail(event: af.Transition) -> None:
    """Send an e-mail; the delivery of an event may be repeated, so that its id is always the same."""
    message = EmailMessage()
    message["From"], message["To"] = setting("FROM") or "aiflow-ext@localhost", setting("TO")
    message["Subject"] = " ".join(f"{event.job} {event.state} in run {event.run_id}".split())
    message["Message-ID"] = f"<{event.run_id}.{event.seq}@aiflow-ext>"
    message.set_content(text_of(event) + "\n")
    host, _, port = setting("SMTP").partition(":")
    with smtplib.SMTP(host, int(port or 25), timeout=TIMEOUT) as server:
        if setting("USER"):
            server.starttls(context=ssl.create_default_context())  # else no certificate is verified
            server.login(setting("USER"), secret("PASSWORD"))
        server.send_message(message)


def text_of(event: af.Transition) -> str:
    """What people read."""
    return (
        f"Job {event.job} of run {event.run_id} is {event.state} (attempt {event.attempt or 1}): "
        f"{event.reason or 'it gave no reason'}\n"
        f"Its log: aiflow-ext logs {event.run_id} {event.job}"
    )


def setting(name: str) -> str:
    """A variable's value; empty where it is not set."""
    return os.environ.get(f"{PREFIX}{name}", "")


def secret(name: str) -> str:
    """A variable's value, which may be the reference of a secret: ``env:NAME``, ``file:PATH``, or a plugin's own."""
    value = setting(name)
    if value.startswith(("http://", "https://")) or ":" not in value:
        return value
    return secrets.resolve({name: {"secret": value}})[name]
