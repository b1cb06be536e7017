"""Platform ``kubernetes``: each attempt of a job is a ``batch/v1`` Job of one pod.

The client library. Who may talk to a cluster, and with what, is read by the official client (``kubernetes.config``):
kubeconfigs merged, exec plugins with their certificates, OIDC, in-cluster tokens that rotate. It is the one that every
cluster's vendor tests against, and it follows each release. Its object layer is not used: turning JSON into models and
back costs several times what a request costs, drops the last line of a log that has no newline, and hides the
resourceVersion of a watch. Requests are plain JSON over urllib3 (which the client needs anyway), so that what is
rendered is what is sent, byte for byte. lightkube is lighter, but knows neither exec plugins of
``client.authentication.k8s.io/v1`` nor their certificates; kr8s wants an event loop in every thread.

Nothing of this is imported by listing, resolving, ``generate`` or ``render``; ``server`` and ``kubeconfig`` alone
import a client.

    platform, python, cmd_line    what the entry points name
    config, fields                the config's keys, and what Kubernetes takes for a name or a quantity
    manifest, template, shell     the objects that are sent: pure data; what runs in the container first
    archive                       the project's archive: one Secret a run, or a file under the artifacts URL
    jobs                          the nine methods and the optional hooks
    target, kubeconfig, server    where: cluster and namespace; who we are there; one connection each
    objects, seen, handler        the Job and the pods of an attempt on the server, and what has been seen of them
    status                        what a Job and its pods say of an attempt
    reflector, informer           one list and watch a run and kind; the objects as they are now
    pending, watch                why attempts wait; all that becomes of a run's attempts, as events
    streams, logs                 stdout and stderr taken apart again; read by byte offset; kept at the end
    checks, access                what keeps the platform from being used; the smallest Role
"""
