"""Finds every host that the plan addresses, and refuses those that are not on the allow-list or cannot be known.

What cannot be known before the run (a redirect, an embedded resource) is limited at run time: by the expression for
embedded URLs, and by JMeter's arguments, which send every request to another host to a closed port.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence

from include.capacity.jtl.outcomes import CLOSED_HOST, CLOSED_PORT
from include.loadgen.plan.findings import Findings
from include.loadgen.plan.jmx import Node
from include.loadgen.plan.stock import HTTP_SAMPLERS, is_sampler
from include.loadgen.plan.values import UNKNOWN, Values

# Samplers and config elements other than HTTP's -> the property that holds a host, an address or a connection URL.
_ADDRESSES: Mapping[str, str] = {
    "TCPSampler": "TCPSampler.server",
    "FTPSampler": "FTPSampler.server",
    "SmtpSampler": "SMTPSampler.server",
    "MailReaderSampler": "host",
    "LDAPSampler": "servername",
    "LDAPExtSampler": "servername",
    "JDBCDataSource": "dbUrl",
    "PublisherSampler": "jms.provider_url",
    "SubscriberSampler": "jms.provider_url",
    "JMSSampler": "JMSSampler.contextProviderUrl",
    "MongoSourceElement": "connection",
    "BoltConnectionElement": "boltUri",
    "AccessLogSampler": "domain",
}
# They use the connection of a config element that is checked itself.
_CONNECTED_ELSEWHERE = frozenset({"JDBCSampler", "MongoScriptSampler", "BoltSampler"})
_CODE_SAMPLERS = frozenset(
    {"JSR223Sampler", "BeanShellSampler", "BSFSampler", "JavaSampler", "JUnitSampler", "SystemSampler"}
)
_SILENT_SAMPLERS = frozenset({"TestAction", "DummySampler", "DebugSampler"})

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+\]?")
# One host only: an address with several (`jdbc:mysql://a,b/shop`) does not match, and neither does an uncertain part
# before the host, which could hold a host of its own.
_URL_HOST = re.compile(
    rf"^(?:jdbc:)?[A-Za-z][\w+.:\-]*?://(?:[^/?#@\\{UNKNOWN}]*@)?(\[[^\]]+\]|[^/?#@\\:;,]*)(?::\d+)?(?=[/?#;]|$)"
)
_ORACLE_HOST = re.compile(r"^jdbc:oracle:thin:[^@]*@(?://)?([^:/?#@\\]+)[:/]")
_WHOLE_URL = ("http://", "https://")

_ALLOW_CURE = "Correct the host, or add it to target.allow_hosts of the profile if this load is really meant for it."


class _AllowList:
    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(pattern.strip().lower() for pattern in patterns)

    @property
    def allows_all(self) -> bool:
        return "*" in self.patterns

    def allows(self, host: str) -> bool:
        return any(fnmatch.fnmatchcase(host, pattern) for pattern in self.patterns)

    def __str__(self) -> str:
        return ", ".join(self.patterns) or "empty"


def check_targets(plan: Node, values: Values, allow_hosts: Sequence[str], findings: Findings) -> tuple[str, ...]:
    """Refuses hosts that are unknown or not allowed, and limits embedded resources. Returns the hosts, sorted."""
    hosts: set[str] = set()
    allowed = _AllowList(allow_hosts)
    for node in plan.walk():
        kind = node.short_kind
        if kind in HTTP_SAMPLERS:
            _check_http(node, values, allowed, hosts, findings)
        elif kind in _ADDRESSES:
            text = _effective(node, _ADDRESSES[kind])
            _check_text(node, text, values, allowed, hosts, findings)
        elif kind == "DNSCacheManager":
            _check_static_hosts(node, values, allowed, hosts, findings)
        elif kind in _CODE_SAMPLERS:
            findings.note("runs code of yours; the hosts that it addresses by itself are not checked.", node)
        elif is_sampler(node) and kind not in _CONNECTED_ELSEWHERE | _SILENT_SAMPLERS and not allowed.allows_all:
            _check_plugin(node, values, allowed, hosts, findings)
        if kind in HTTP_SAMPLERS or kind == "ConfigTestElement":
            _check_proxy(node, values, allowed, hosts, findings)
            _limit_embedded_resources(node, values, allowed, findings)
    return tuple(sorted(hosts))


def jmeter_arguments(targets: Sequence[str], allow_hosts: Sequence[str]) -> tuple[str, ...]:
    """JMeter's arguments that send each request to a host not in the lists to a closed port instead.

    JMeter takes full names and names with one leading `*` as exceptions from a proxy; other patterns of the allow-list
    count with the hosts that the plan really names.
    """
    if "*" in allow_hosts:
        return ()
    simple = [pattern for pattern in allow_hosts if not re.search(r"[*?\[]", pattern.removeprefix("*"))]
    direct = dict.fromkeys([*(pattern.lower() for pattern in simple), *targets])
    exceptions = "|".join(f"[{host}]|{host}" if ":" in host else host for host in direct)
    return ("-H", CLOSED_HOST, "-P", CLOSED_PORT, *(("-N", exceptions) if exceptions else ()))


def _effective(node: Node, key: str) -> str:
    """The node's own property, else that of the nearest config element in scope: as JMeter merges them."""
    if own := node.get(key):
        return own
    scope = [node, *node.ancestors()]
    for level in scope:
        for child in level.children:
            if child.short_kind == "ConfigTestElement" and (found := child.get(key)):
                return found
    return ""


def _check_http(node: Node, values: Values, allowed: _AllowList, hosts: set[str], findings: Findings) -> None:
    path = _effective(node, "HTTPSampler.path")
    expanded = values.expand(path)
    literal, cut, _ = expanded.text.partition(UNKNOWN)
    lowered = literal.lower()
    if lowered.startswith(_WHOLE_URL):
        _check_host(node, expanded.text, values, allowed, hosts, findings, expanded.reasons)
    elif cut and any(start.startswith(lowered) for start in _WHOLE_URL):
        if allowed.allows_all:
            return
        findings.refuse(
            node,
            f"has the path `{path}`, which may turn into a whole URL of any host: {expanded.reasons[0]}.",
            "Let the path begin with `/`, or with a variable that User Defined Variables give a fixed value.",
        )
    else:
        if (own := node.get("HTTPSampler.domain")) and "${" not in own and own != own.lower():
            node.set("HTTPSampler.domain", own.lower())  # the load containers know names in this one spelling
        _check_text(node, _effective(node, "HTTPSampler.domain"), values, allowed, hosts, findings)
    if not _effective(node, "HTTPSampler.response_timeout"):
        findings.note("has no response timeout: an answer that never comes holds a thread of the pool for good.", node)


def _check_text(
    node: Node, text: str, values: Values, allowed: _AllowList, hosts: set[str], findings: Findings
) -> None:
    if not text:
        if allowed.allows_all:
            return
        findings.refuse(
            node,
            "names no host, and no config element in its scope does.",
            "Enter the host, or `${__P(host)}`, in the sampler or in HTTP Request Defaults.",
        )
        return
    expanded = values.expand(text)
    _check_host(node, expanded.text, values, allowed, hosts, findings, expanded.reasons)


def _check_host(
    node: Node,
    text: str,
    values: Values,
    allowed: _AllowList,
    hosts: set[str],
    findings: Findings,
    reasons: Sequence[str],
) -> None:
    """Checks a host, an address `host:port` or a URL, in which UNKNOWN stands for parts that are not certain."""
    host = _host_of(text.strip())
    if host is None or UNKNOWN in host:
        if allowed.allows_all:
            return
        if reasons:
            findings.refuse(
                node,
                f"addresses a host that is not certain before the run: {'; '.join(reasons)}.",
                "Use a literal host, `${__P(host)}` (the target of the profile), or a fixed user-defined variable.",
            )
        else:
            findings.refuse(node, f"addresses `{text}`, in which no host can be read.", "Enter a plain host name.")
        return
    host = host.lower().strip("[]").rstrip(".")
    hosts.add(host)
    if not allowed.allows(host):
        findings.refuse(node, f"addresses the host `{host}`, which is not on the allow-list ({allowed}).", _ALLOW_CURE)


def _host_of(text: str) -> str | None:
    """The host in a plain host, `host:port`, `//host/…` or URL; None if there is none that is surely the host."""
    if found := _ORACLE_HOST.match(text) or _URL_HOST.match(text):
        host = found[1]
    else:
        host = re.sub(r"^([^:\[\]]+):\d+$", r"\1", text)
    if UNKNOWN in host:
        return host
    return host if _HOST_NAME.fullmatch(host) else None


def _check_static_hosts(node: Node, values: Values, allowed: _AllowList, hosts: set[str], findings: Findings) -> None:
    if values.value(node.get("DNSCacheManager.isCustomResolver", "false")) != "false" and not allowed.allows_all:
        lists = node.element.iter("collectionProp")
        servers = [entry for entry in lists if entry.get("name") == "DNSCacheManager.servers"]
        if any(len(entry) for entry in servers):
            findings.refuse(
                node,
                "resolves names by DNS servers of its own: they could lead off the allow-list, whatever was checked.",
                "Remove the servers; static hosts and the names of the load containers' own resolver are kept.",
            )
    for entry in node.element.iter("elementProp"):
        for child in entry:
            if child.get("name") == "StaticHost.Address":
                for address in filter(None, (part.strip() for part in (child.text or "").split(","))):
                    _check_text(node, address, values, allowed, hosts, findings)


def _check_plugin(node: Node, values: Values, allowed: _AllowList, hosts: set[str], findings: Findings) -> None:
    for key in ("server", "host", "serverNameOrIp", "HTTPSampler.domain", "uri", "url"):
        if text := node.get(key):
            _check_text(node, text, values, allowed, hosts, findings)
            return
    findings.refuse(
        node,
        f"is a sampler of a plug-in ({node.kind}) whose target cannot be read.",
        "Use a stock sampler, or allow every host (`*` in target.allow_hosts) if you are sure where it sends.",
    )


def _check_proxy(node: Node, values: Values, allowed: _AllowList, hosts: set[str], findings: Findings) -> None:
    text = node.get("HTTPSampler.proxyHost")
    if not text:
        return
    before = len(findings.refusals)
    _check_text(node, text, values, allowed, hosts, findings)
    if len(findings.refusals) == before:
        findings.note("sends its requests through a proxy, whose own limits become part of the result.", node)


def _limit_embedded_resources(node: Node, values: Values, allowed: _AllowList, findings: Findings) -> None:
    if allowed.allows_all or values.value(node.get("HTTPSampler.image_parser", "false")) == "false":
        return  # a value that is not certain is limited as well
    limit = rf"https?://(?:{'|'.join(_as_expression(pattern) for pattern in allowed.patterns)})(?::\d+)?(?:[/?#].*)?"
    own = node.get("HTTPSampler.embedded_url_re")
    node.set("HTTPSampler.embedded_url_re", f"(?=(?:{own})$){limit}" if own else limit)
    findings.note("embedded resources are fetched from hosts on the allow-list only.", node)


def _as_expression(pattern: str) -> str:
    """A host pattern as a regular expression of JMeter's (Perl 5) dialect."""
    return "".join({"*": "[^/:@?#]*", "?": "[^/:@?#]"}.get(character, re.escape(character)) for character in pattern)
