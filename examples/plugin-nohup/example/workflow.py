import aiflow_ext as af


@af.workflow
def example():
    with af.job("greet"):
        af.cmd("echo hello, {name}", name="world")
    with af.job("report"):
        af.cmd("echo nice $(nice), alpha {properties.alpha}, in job $AIFLOW_JOB")
    af.run_after("report", "greet")
