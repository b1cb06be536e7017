import aiflow_ext as af
from steps import sales


@af.workflow
def flink():
    """A Python job writes files, a Flink job adds them up, and a command adds them up again and compares."""
    with af.job("sales"):
        files = af.python(sales)
    with af.job("totals"):
        totals = af.flink(sql="totals.sql", sales=files, totals=af.output("totals"))
    with af.job("check"):
        af.cmd(
            """cat {totals}/* | sort > {report}
            cat {sales}/* | awk -F, '{n[$1]++; c[$1] += $3} END {for (s in n) print s "," n[s] "," c[s]}' |
                sort | diff - {report}""",
            totals=totals,
            sales=files,
            report=af.output("report.csv"),
        )
