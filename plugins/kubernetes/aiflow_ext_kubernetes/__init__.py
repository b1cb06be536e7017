"""Platform ``kubernetes``: each attempt of a job is a ``batch/v1`` Job of one pod.

No client library: requests are plain JSON over urllib3, so that what is rendered is what is sent, byte for byte, and
kubeconfigs are read here, by kubectl's rules. The official client takes 18 MB and 400 modules, waits for exec plugins
and OIDC providers without a limit, and goes on without credentials where they fail. Its object layer costs several
times what a request costs, drops the last line of a log that has no newline, and hides the resourceVersion of a watch.
lightkube supports neither exec plugins of ``client.authentication.k8s.io/v1`` nor their certificates; kr8s needs an
event loop in every thread.

Listing, resolving, ``generate`` and ``render`` do not import urllib3; what talks to a server does.

    platform, python, cmd_line    what the entry points name
    config, fields                the config's keys; which names and quantities Kubernetes accepts
    manifest, template, shell     the objects that are sent: pure data; the container's first process
    archive                       the project's archive: one Secret a run, or a file under the artifacts URL
    jobs                          the nine methods and the optional hooks
    target, server                a cluster and namespace; one connection for each cluster
    pinned                        the cluster that a run began in, recorded in its folder
    kubefiles, kubeconfig         kubeconfig files, merged; the credentials of a context
    service_account               the credentials of a pod that the client itself runs in
    login, oidc                   a user's login program; an OIDC provider's token
    proxies                       the proxy that the environment names
    objects, seen, handler        the Job and the pods of an attempt on the server; a cache of what was seen of them
    status                        from a Job and its pods to an attempt's state
    paging                        lists, in pages
    reflector, informer           list and watch, one for each run and kind; the current objects
    pending, watch                why attempts wait; the events of a run's attempts
    streams, logs                 stdout and stderr separated; read by byte offset; copied at the end
    checks, access                checks before a run; the smallest Role
"""
