"""The smallest Role with which jobs can be run, and the rule that a refused request needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiflow_ext_kubernetes.config import KubernetesJobConfig


class Rule(NamedTuple):
    """What may be done with one resource."""

    group: str
    resource: str
    verbs: tuple[str, ...]


RULES = (
    Rule("batch", "jobs", ("create", "get", "list", "watch", "patch", "delete")),
    Rule("", "pods", ("list", "watch", "delete")),
    Rule("", "pods/log", ("get",)),
    Rule("", "secrets", ("create", "delete")),
    Rule("", "events", ("list",)),
    Rule("", "resourcequotas", ("list",)),
)

# What a Flink cluster needs besides; "services/proxy" is how its REST interface is reached.
FLINK_RULES = (
    Rule("", "services", ("create", "get")),
    Rule("", "services/proxy", ("get", "create")),
    Rule("", "configmaps", ("create", "get")),
)

# What a Flink job in a session cluster needs besides; "services/proxy" only where that is a Service of the namespace.
SESSION_RULES = (
    Rule("", "services/proxy", ("get", "create", "patch")),
    Rule("", "configmaps", ("create", "get")),
)
_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}

# What is not needed to run jobs: the namespace's uid tells whether it is still the same cluster.
OPTIONAL = (Rule("", "namespaces", ("get",)),)


def yaml_of(rule: Rule) -> str:
    """A rule as a line of a Role."""
    return f'- {{apiGroups: ["{rule.group}"], resources: ["{rule.resource}"], verbs: [{", ".join(rule.verbs)}]}}'


def line_for(method: str, path: str) -> str:
    """What to do where a request was forbidden: the line that the Role lacks."""
    parts = path.strip("/").split("/")
    resource = "/".join([*parts[parts.index("namespaces") + 2 :][:1], *parts[parts.index("namespaces") + 4 :][:1]]) \
        if "namespaces" in parts else ""  # fmt: skip
    rules = [each for each in (*RULES, *FLINK_RULES, *SESSION_RULES) if each.resource == resource]
    rule = next((each for each in rules if _VERBS.get(method) in each.verbs), rules[0] if rules else None)
    if rule is None:
        return "aiflow-ext render --rbac PROJECT prints the Role that is needed"
    return f"the Role needs the line\n      {yaml_of(rule)}\n    aiflow-ext render --rbac PROJECT prints all of it"


def roles(jobs: Iterable[Any]) -> str:
    """A Role and a RoleBinding for each namespace of these jobs, as YAML."""
    namespaces: dict[str, dict[Rule, None]] = {}
    for job in jobs:
        config = getattr(job, "job_config", None)
        if isinstance(config, KubernetesJobConfig):
            needed = getattr(job, "rules", RULES)
            namespaces.setdefault(config.namespace or "", {}).update(dict.fromkeys(needed))
    return "---\n".join(_role(namespace, needed) for namespace, needed in namespaces.items())


def _role(namespace: str, needed: Iterable[Rule]) -> str:
    place = f", namespace: {namespace}" if namespace else ""
    rules = "\n".join(yaml_of(rule) for rule in (*needed, *OPTIONAL))
    said = f"namespace {namespace}" if namespace else "the context's namespace (kubectl apply -n NAMESPACE)"
    return f"""\
# All that aiflow-ext needs, in {said}.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: aiflow-ext{place}}}
rules:
{rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: aiflow-ext{place}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: aiflow-ext}}
subjects:
- {{kind: User, name: WHO, apiGroup: rbac.authorization.k8s.io}}  # or {{kind: ServiceAccount, name: ...}}
"""
