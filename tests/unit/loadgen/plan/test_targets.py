from __future__ import annotations

import re

import pytest

from include.loadgen.plan.targets import jmeter_arguments
from tests.unit.loadgen.plan.workshop import Workshop

ALLOWED = ("127.0.0.1", "*.example.org")


def hosts(workshop: Workshop, *children: str, **settings: object) -> tuple[str, ...]:
    prepared, _ = workshop.prepare(workshop.group("load", *children), allow_hosts=ALLOWED, **settings)
    return prepared.targets


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        ("127.0.0.1", "/", "127.0.0.1"),
        ("Shop.Example.ORG", "/", "shop.example.org"),
        ("shop.example.org.", "/", "shop.example.org"),
        ("${__P(host)}", "/", "shop.example.org"),
        ("127.0.0.1", "/items/${id}", "127.0.0.1"),
        ("127.0.0.1", "items/${id}", "127.0.0.1"),
        ("elsewhere.test", "https://shop.example.org:8443/x", "shop.example.org"),
        ("elsewhere.test", "HTTP://user:pw@shop.example.org/x", "shop.example.org"),
        ("elsewhere.test", "http://${__P(host)}/${id}", "shop.example.org"),
    ],
)
def test_hosts_are_found(workshop: Workshop, host: str, path: str, found: str) -> None:
    assert hosts(workshop, workshop.http("a", host=host, path=path), properties={"host": "shop.example.org"}) == (
        found,
    )


@pytest.mark.parametrize(
    ("host", "path", "problem"),
    [
        ("elsewhere.test", "/", "`elsewhere.test`, which is not on the allow-list (127.0.0.1, *.example.org)"),
        ("example.org", "/", "`example.org`, which is not on the allow-list"),
        ("127.0.0.1", "http://elsewhere.test/", "`elsewhere.test`"),
        ("127.0.0.1", "http://127.0.0.1@elsewhere.test/", "`elsewhere.test`"),
        ("127.0.0.1", "http://127.0.0.1\\@elsewhere.test/", "no host can be read"),
        ("elsewhere.test/x.example.org", "/", "no host can be read"),
        ("elsewhere.test?.example.org", "/", "no host can be read"),
        ("${row}", "/", "nothing in the plan defines the variable `row`"),
        ("${row}.example.org", "/", "nothing in the plan defines the variable `row`"),
        ("${__P(absent)}", "/", "the property `absent` is not given"),
        ("127.0.0.1", "${link}", "may turn into a whole URL of any host"),
        ("127.0.0.1", "ht${link}", "may turn into a whole URL of any host"),
        ("127.0.0.1", "http://${row}/", "`row`"),
        ("127.0.0.1", "http://${row}@127.0.0.1/", "`row`"),
        ("127.0.0.1", "http://127.0.0.1:${row}/", "`row`"),
        ("", "/", "names no host"),
    ],
)
def test_hosts_off_the_list_or_unknown_are_refused(workshop: Workshop, host: str, path: str, problem: str) -> None:
    group = workshop.group("load", workshop.http("a", host=host, path=path))
    refusal = workshop.refusal(group, allow_hosts=ALLOWED)
    assert refusal.key == "Plan / load / a"
    assert problem in refusal.problem
    assert refusal.cure


def test_the_nearest_defaults_in_scope_give_the_host(workshop: Workshop) -> None:
    def defaults(host: str) -> str:
        return workshop.element("ConfigTestElement", "defaults", HTTPSampler__domain=host)

    near = workshop.element("GenericController", "near", defaults("near.example.org"), workshop.http("a", host=""))
    sampler_with_own_defaults = workshop.http("b", defaults("own.example.org"), host="")
    far = workshop.http("c", host="")
    found, _ = workshop.prepare(
        defaults("far.example.org"),
        workshop.group("load", near, sampler_with_own_defaults, far),
        allow_hosts=ALLOWED,
    )
    assert found.targets == ("far.example.org", "near.example.org", "own.example.org")


def test_disabled_defaults_give_no_host(workshop: Workshop) -> None:
    off = workshop.element("ConfigTestElement", "off", HTTPSampler__domain="127.0.0.1", enabled=False)
    assert "names no host" in workshop.refusal(off, workshop.group("load", workshop.http("a", host=""))).problem


OTHER_PROTOCOLS = [
    ("TCPSampler", "TCPSampler.server", "{}"),
    ("FTPSampler", "FTPSampler.server", "{}"),
    ("SmtpSampler", "SMTPSampler.server", "{}"),
    ("MailReaderSampler", "host", "{}"),
    ("LDAPSampler", "servername", "{}"),
    ("JDBCDataSource", "dbUrl", "jdbc:postgresql://{}:5432/shop"),
    ("JDBCDataSource", "dbUrl", "jdbc:mysql://{}/shop?useSSL=false"),
    ("JDBCDataSource", "dbUrl", "jdbc:sqlserver://{};databaseName=shop"),
    ("JDBCDataSource", "dbUrl", "jdbc:oracle:thin:@{}:1521:xe"),
    ("JDBCDataSource", "dbUrl", "jdbc:oracle:thin:@//{}:1521/xe"),
    ("PublisherSampler", "jms.provider_url", "tcp://{}:61616"),
    ("BoltConnectionElement", "boltUri", "bolt://{}:7687"),
    ("AjpSampler", "HTTPSampler.domain", "{}"),
]


@pytest.mark.parametrize(("kind", "key", "form"), OTHER_PROTOCOLS)
def test_other_protocols_are_checked_too(workshop: Workshop, kind: str, key: str, form: str) -> None:
    good = workshop.element(kind, "other", **{key: form.format("db.example.org")})
    assert hosts(workshop, good, workshop.http("a")) == ("127.0.0.1", "db.example.org")
    workshop.out.unlink()
    bad = workshop.element(kind, "other", **{key: form.format("db.elsewhere.test")})
    refusal = workshop.refusal(workshop.group("load", bad, workshop.http("a")), allow_hosts=ALLOWED)
    assert "`db.elsewhere.test`, which is not on the allow-list" in refusal.problem


@pytest.mark.parametrize("url", ["jdbc:h2:mem:test", "jdbc:mysql://127.0.0.1,elsewhere.test/shop"])
def test_an_address_that_cannot_be_read_is_refused(workshop: Workshop, url: str) -> None:
    pool = workshop.element("JDBCDataSource", "pool", dbUrl=url)
    assert "no host can be read" in workshop.refusal(workshop.group("load", pool, workshop.http("a"))).problem


def test_a_static_host_entry_may_not_lead_elsewhere(workshop: Workshop) -> None:
    entry = (
        '<collectionProp name="DNSCacheManager.hosts"><elementProp name="h" elementType="StaticHost">'
        '<stringProp name="StaticHost.Name">shop.example.org</stringProp>'
        '<stringProp name="StaticHost.Address">10.9.8.7</stringProp></elementProp></collectionProp>'
    )
    cache = workshop.element("DNSCacheManager", "names", raw=entry)
    group = workshop.group("load", workshop.http("a", host="shop.example.org"), cache)
    assert "`10.9.8.7`" in workshop.refusal(group, allow_hosts=ALLOWED).problem


@pytest.mark.parametrize(("custom", "refused"), [("true", True), ("${__P(custom)}", True), ("false", False)])
def test_name_servers_of_the_plans_own_are_refused(workshop: Workshop, custom: str, refused: bool) -> None:
    raw = '<collectionProp name="DNSCacheManager.servers"><stringProp name="1">10.0.0.53</stringProp></collectionProp>'
    cache = workshop.element("DNSCacheManager", "names", raw=raw, DNSCacheManager__isCustomResolver=custom)
    group = workshop.group("load", workshop.http("a"), cache)
    if refused:
        assert "resolves names by DNS servers of its own" in workshop.refusal(group).problem
    workshop.prepare(group, **({"allow_hosts": ("*",)} if refused else {}))


def test_a_literal_host_is_spelt_as_the_load_containers_know_it(workshop: Workshop) -> None:
    group = workshop.group("load", workshop.http("a", host="Shop.Example.org"))
    prepared, _ = workshop.prepare(group, allow_hosts=ALLOWED)
    assert prepared.targets == ("shop.example.org",)
    assert "Shop.Example.org" not in prepared.path.read_text()


def test_a_proxy_must_be_allowed(workshop: Workshop) -> None:
    sampler = workshop.http("a", HTTPSampler__proxyHost="proxy.elsewhere.test")
    assert "`proxy.elsewhere.test`" in workshop.refusal(workshop.group("load", sampler)).problem
    prepared, _ = workshop.prepare(workshop.group("load", sampler), allow_hosts=("127.0.0.1", "proxy.elsewhere.test"))
    assert any("through a proxy" in note for note in prepared.notes)


def test_a_plug_in_sampler_whose_target_cannot_be_read_is_refused(workshop: Workshop) -> None:
    jmeter_home = workshop.install_class("com.acme.QueueSampler")
    group = workshop.group("load", workshop.element("com.acme.QueueSampler", "queue"))
    assert "whose target cannot be read" in workshop.refusal(group, jmeter_home=jmeter_home).problem
    prepared, _ = workshop.prepare(group, jmeter_home=jmeter_home, allow_hosts=("*",))
    assert prepared.targets == ()


def test_with_every_host_allowed_uncertain_hosts_are_kept(workshop: Workshop) -> None:
    group = workshop.group("load", workshop.http("a", host="${row}"), workshop.http("b", path="${link}"))
    prepared, _ = workshop.prepare(group, allow_hosts=("*",))
    assert prepared.groups[0].name == "load"


def test_code_is_kept_with_a_note(workshop: Workshop) -> None:
    prepared, _ = workshop.prepare(workshop.group("load", workshop.element("JSR223Sampler", "own code", script="1")))
    assert any(note.startswith("Plan / load / own code: runs code of yours") for note in prepared.notes)


def test_automatic_redirects_become_followed_ones(workshop: Workshop) -> None:
    sampler = workshop.http("a", HTTPSampler__auto_redirects=True, HTTPSampler__follow_redirects=False)
    _, document = workshop.prepare(workshop.group("load", sampler))
    found = workshop.find(document, "a")
    assert (found.get("HTTPSampler.auto_redirects"), found.get("HTTPSampler.follow_redirects")) == ("false", "true")


@pytest.mark.parametrize("own", ["", r".*\.png"])
def test_embedded_resources_come_from_allowed_hosts_only(workshop: Workshop, own: str) -> None:
    sampler = workshop.http("a", HTTPSampler__image_parser=True, HTTPSampler__embedded_url_re=own)
    _, document = workshop.prepare(workshop.group("load", sampler), allow_hosts=ALLOWED)
    expression = re.compile(workshop.find(document, "a").get("HTTPSampler.embedded_url_re"))
    assert expression.fullmatch("http://127.0.0.1:8080/logo.png")
    assert expression.fullmatch("https://cdn.example.org/logo.png")
    assert bool(expression.fullmatch("https://cdn.example.org/logo.svg")) is not bool(own)
    for url in (
        "https://elsewhere.test/logo.png",
        "https://example.org.elsewhere.test/logo.png",
        "https://127.0.0.1@elsewhere.test/logo.png",
        "https://127.0.0.1:80@elsewhere.test/logo.png",
        "https://elsewhere.test/.example.org/logo.png",
        "https://127a0b0c1/logo.png",
    ):
        assert not expression.fullmatch(url), url


@pytest.mark.parametrize(
    ("targets", "allow_hosts", "exceptions"),
    [
        (["127.0.0.1"], ["127.0.0.1", "localhost"], "127.0.0.1|localhost"),
        (["a.example.org"], ["*.example.org"], "*.example.org|a.example.org"),
        (["api-1.example.org"], ["api-?.example.org"], "api-1.example.org"),
        (["::1"], [], "[::1]|::1"),
    ],
)
def test_other_hosts_are_sent_to_a_closed_port(targets: list[str], allow_hosts: list[str], exceptions: str) -> None:
    assert jmeter_arguments(targets, allow_hosts) == ("-H", "127.0.0.1", "-P", "9", "-N", exceptions)


def test_nothing_is_blocked_when_every_host_is_allowed() -> None:
    assert jmeter_arguments(["a"], ["*"]) == ()
