"""Which element classes exist, and what each one is: thread group, sampler, timer, assertion, listener, …"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path

from include.loadgen.plan.jmx import Node

# The aliases of bin/saveservice.properties of JMeter 5.6.3 that a plan's tree may hold and whose class still exists.
STOCK_ALIASES = frozenset(
    """
    AccessLogSampler AjpSampler AnchorModifier Arguments AuthManager BackendListener BeanShellAssertion
    BeanShellListener BeanShellPostProcessor BeanShellPreProcessor BeanShellSampler BeanShellTimer
    BoltConnectionElement BoltSampler BoundaryExtractor BSFAssertion BSFListener BSFPostProcessor BSFPreProcessor
    BSFSampler BSFTimer CacheManager CompareAssertion ConfigTestElement ConstantThroughputTimer ConstantTimer
    CookieManager CounterConfig CriticalSectionController CSVDataSet DebugPostProcessor DebugSampler DNSCacheManager
    DurationAssertion ForeachController FTPSampler GaussianRandomTimer GenericController HeaderManager HTMLAssertion
    HtmlExtractor HttpMirrorControl HTTPSampler HTTPSampler2 HTTPSamplerProxy IfController IncludeController
    InterleaveControl JavaConfig JavaSampler JDBCDataSource JDBCPostProcessor JDBCPreProcessor JDBCSampler
    JMESPathAssertion JMESPathExtractor JMSSampler JSONPathAssertion JSONPostProcessor JSR223Assertion JSR223Listener
    JSR223PostProcessor JSR223PreProcessor JSR223Sampler JSR223Timer JUnitSampler KeystoreConfig LDAPExtSampler
    LDAPSampler LoginConfig LoopController MailerResultCollector MailReaderSampler MD5HexAssertion ModuleController
    MongoScriptSampler MongoSourceElement OnceOnlyController OpenModelThreadGroup PoissonRandomTimer PostThreadGroup
    PreciseThroughputTimer ProxyControl PublisherSampler RandomController RandomOrderController RandomVariableConfig
    RecordingController RegexExtractor RegExUserParameters ResponseAssertion ResultAction ResultCollector ResultSaver
    RunTime SampleTimeout SetupThreadGroup SizeAssertion SMIMEAssertion SmtpSampler SubscriberSampler Summariser
    SwitchController SyncTimer SystemSampler TCPSampler TestAction TestFragmentController TestPlan ThreadGroup
    ThroughputController TransactionController UniformRandomTimer URLRewritingModifier UserParameters WhileController
    WorkBench XMLAssertion XMLSchemaAssertion XPath2Assertion XPath2Extractor XPathAssertion XPathExtractor
    """.split()  # noqa: SIM905 - a list of words is easier to read and to compare
)

LOAD_GROUPS = frozenset({"ThreadGroup", "OpenModelThreadGroup"})
PLUGIN_GROUP_PREFIXES = ("com.blazemeter.jmeter.threads.", "kg.apc.jmeter.threads.")
SIDE_GROUPS = frozenset({"SetupThreadGroup", "PostThreadGroup"})

LOAD_MODEL_TIMERS = frozenset({"ConstantThroughputTimer", "PreciseThroughputTimer", "VariableThroughputTimer"})

LISTENERS = frozenset(
    {
        "ResultCollector",
        "Summariser",
        "BackendListener",
        "ResultSaver",
        "MailerResultCollector",
        "CorrectedResultCollector",
    }
)
LISTENER_PACKAGES = ("kg.apc.jmeter.vizualizers.", "kg.apc.jmeter.reporters.", "com.blazemeter.jmeter.reporters.")
SCRIPTED_LISTENERS = frozenset({"JSR223Listener", "BeanShellListener", "BSFListener"})
DEBUG_ELEMENTS = frozenset({"DebugSampler", "DebugPostProcessor"})
# Parts of JMeter's GUI that live in a plan and run nothing in a test.
WORKSHOP_ELEMENTS = frozenset({"WorkBench", "ProxyControl", "HttpMirrorControl", "PropertyControlGui"})

HTTP_SAMPLERS = frozenset({"HTTPSamplerProxy", "HTTPSampler", "HTTPSampler2", "AjpSampler"})

_SAMPLERS_NAMED_OTHERWISE = frozenset({"HTTPSamplerProxy", "HTTPSampler2", "TestAction"})
_PREPROCESSORS_NAMED_OTHERWISE = frozenset(
    # SampleTimeout is no pre-processor in JMeter's code, but acts before each sampler in its scope as one does.
    # UserParameters is one, but gives each thread its values whichever sampler comes: it can stay where it is.
    {"AnchorModifier", "URLRewritingModifier", "RegExUserParameters", "SampleTimeout"}
)


def is_load_group(node: Node) -> bool:
    return _is_stock(node.kind, LOAD_GROUPS) or node.kind.startswith(PLUGIN_GROUP_PREFIXES)


def is_side_group(node: Node) -> bool:
    """A setUp or tearDown Thread Group."""
    return _is_stock(node.kind, SIDE_GROUPS)


def is_listener(node: Node) -> bool:
    return (
        node.short_kind in LISTENERS
        or node.short_kind.endswith("Visualizer")
        or node.kind.startswith(LISTENER_PACKAGES)
    )


def is_sampler(node: Node) -> bool:
    return node.short_kind.endswith("Sampler") or node.short_kind in _SAMPLERS_NAMED_OTHERWISE


def is_controller(node: Node) -> bool:
    return node.short_kind.endswith(("Controller", "InterleaveControl")) or node.short_kind == "RunTime"


def is_timer(node: Node) -> bool:
    return node.short_kind.endswith("Timer")


def is_load_model_timer(node: Node) -> bool:
    return node.short_kind in LOAD_MODEL_TIMERS


def is_preprocessor(node: Node) -> bool:
    return node.short_kind.endswith("PreProcessor") or node.short_kind in _PREPROCESSORS_NAMED_OTHERWISE


def is_assertion(node: Node) -> bool:
    return node.short_kind.endswith("Assertion")


def unknown_class(node: Node, jmeter_home: Path | None) -> str | None:
    """The class for which JMeter cannot load the element; None if it can. JMeter looks up the tag and `testclass`."""
    return next((name for name in (node.kind, node.element.tag) if not _is_known(name, jmeter_home)), None)


def _is_known(name: str, jmeter_home: Path | None) -> bool:
    """Whether the class is one of stock JMeter 5.6.3, or in a jar of the home's lib/ext."""
    if _is_stock(name, STOCK_ALIASES):
        return True
    return "." in name and jmeter_home is not None and name in _installed_classes(jmeter_home / "lib" / "ext")


def _is_stock(name: str, aliases: frozenset[str]) -> bool:
    """Whether the name is one of the aliases, or the full name of such a class of JMeter's own."""
    package, _, alias = name.rpartition(".")
    return alias in aliases and (not package or package.startswith("org.apache.jmeter."))


@lru_cache(maxsize=4)
def _installed_classes(folder: Path) -> frozenset[str]:
    """Names of all classes in the folder's jars. A jar that cannot be read counts as absent, as it does for JMeter."""
    names: set[str] = set()
    for jar in sorted(folder.glob("*.jar")):
        try:
            with zipfile.ZipFile(jar) as archive:
                names.update(entry[:-6].replace("/", ".") for entry in archive.namelist() if entry.endswith(".class"))
        except (OSError, zipfile.BadZipFile):
            continue
    return frozenset(names)
