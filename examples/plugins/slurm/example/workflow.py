import aiflow_ext as af


def squares(count):
    return "\n".join(str(number * number) for number in range(count))


@af.workflow
def example():
    with af.job("compute"):
        found = af.python(squares, 10)
    with af.job("report"):
        af.cmd("wc -l {found}; hostname", found=found)
