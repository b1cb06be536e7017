import aiflow_ext as af
from steps import count, fetch


@af.workflow
def hello():
    with af.job("fetch"):
        text = af.python(fetch)
    with af.job("count"):
        counts = af.python(count, text)
    with af.job("show"):
        af.cmd("sort -rn {counts} | sed -n 1,{properties.lines}p | tee {top}", counts=counts, top=af.output("top.txt"))
