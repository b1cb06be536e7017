"""The page of runs on a run on Kubernetes: its log while the pod runs, a driver that is killed, resume and stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from gated_run import CONFIG, Run
from ui_page import served

sys.path.append(str(Path(__file__).parents[1] / "browser"))

from debian import PackagesMissing
from webdriver import Browser, install

SHOTS = Path(__file__).parents[3] / "build" / "screenshots"
TALK = "echo hello from the pod; [ -e /marks/open ] || read x < /marks/gate; printf 'the last byte.'"


def test_a_run_is_followed_and_resumed_and_stopped_in_the_page(
    run: Run, project: Any, kubeconfig: Path, no_cluster: Callable[[str], NoReturn]
) -> None:
    try:
        install()
    except PackagesMissing as error:
        no_cluster(f"there is no browser: {error}")
    config = CONFIG.format(kubeconfig=kubeconfig, namespace=run.namespace, marks=run.marks)
    body = f"with af.job('talk'): af.cmd({TALK!r})\nwith af.job('wait'): af.cmd('sleep 1000')"
    project.jobs(body, config + "talk:\nwait:\n")
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root)]
    driver = subprocess.Popen(argv, env=run.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    browser = Browser()
    try:
        with served(run.env) as page:
            browser.open(page.url)
            browser.click(".rows a", "tested")
            browser.click(".row .name", "talk")
            browser.see("hello from the pod", ".log pre")
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            browser.see("NOT DRIVEN", "h1")
            browser.click(".actions button", "Resume")
            browser.click("dialog button.act")
            browser.see("pid", ".facts")
            run.release()
            browser.see("the last byte.", ".log pre")
            browser.see("FINISHED", ".panel .line")
            browser.click(".panel [role=tab]", "Request")
            browser.see("localhost/busybox:1", ".panel")
            browser.screenshot(SHOTS / "kubernetes.png")
            browser.click(".page > .tools .actions button", "Stop")
            browser.click("dialog button.act")
            browser.see("STOPPED", "h1")
            assert browser.complaints() == []
            (found,) = page.json("/api/runs")
            assert found["jobs"] == {"FINISHED": 1, "STOPPED": 1}
    finally:
        browser.close()
        driver.kill()
