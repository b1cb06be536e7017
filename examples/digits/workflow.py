import aiflow_ext as af
import steps


@af.workflow
def digits():
    """Handwritten digits: train a classifier, evaluate it, and publish it only if it is good enough."""
    with af.job("prepare"):
        data = af.python(steps.prepare)
    with af.job("train"):
        model = af.python(steps.train, data)
    with af.job("evaluate"):
        scores = af.python(steps.evaluate, model, data)
        picture = af.python(steps.draw, scores)
        report = af.python(steps.report, scores, picture)
    with af.job("validate"):
        af.python(steps.validate, scores)
    with af.job("push"):
        release = af.cmd(
            """cp {model} {report} .
            sha256sum model.joblib report.html > SHA256SUMS
            tar -cvzf {release} model.joblib report.html SHA256SUMS""",
            model=model,
            report=report,
            release=af.output("digits.tar.gz"),
        )
    with af.job("predict"):
        af.python(steps.predict, release, data)
    # push reads no output of validate, but must not publish a model that validate refuses.
    af.run_after("push", "validate")
