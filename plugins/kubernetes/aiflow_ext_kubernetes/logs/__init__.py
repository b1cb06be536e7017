"""The log of an attempt: read by byte offset while it grows, and kept in the attempt's folder at its end.

A node keeps only the newest part of a long log. So the driver follows the logs of jobs that run for more than a second
or two, and copies to this machine what the node deletes meanwhile.

    keep       copies the whole log into the attempt's folder, once
    beside     keeps the logs of other containers of the pod that have failed
    follow     follows many logs at a time, each in a thread
    reader     requests the log of one attempt from its kubelet
    merge      merges the lines of several answers, each line once
    lag        the times of lines, and whether reading has fallen behind
    buffers    the bytes of stdout and stderr that have been read
"""
