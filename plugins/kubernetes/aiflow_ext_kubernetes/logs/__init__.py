"""The log of an attempt: read by byte offset while it grows, and kept in the attempt's folder at its end.

A node keeps only the newest part of a long log. So the driver follows the logs of jobs that run for more than a moment,
and what the node throws away meanwhile is in a file of this machine already.

    keep       the whole log, put into the attempt's folder once
    follow     many logs followed at a time, a thread each
    reader     what a kubelet answers when it is asked for the log of one attempt
    merge      the lines of one answer after another, each of them once
    lag        the times of lines, and whether reading has fallen behind
    buffers    the bytes of stdout and stderr that have been read
"""
