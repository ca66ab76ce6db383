from pathlib import Path

import pytest

from penstock.domain.errors import InvalidParameterValue, NotSupported, TemporarilyUnavailable
from penstock.spark import session
from penstock.spark.delta import delta_conf
from penstock.spark.java import find_java
from penstock.spark.sessions import session_conf


def java_that_tells(home: Path, told: str) -> str:
    script = home / "bin" / "java"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    script.chmod(0o755)
    return str(home)


@pytest.mark.parametrize("told", ['openjdk version "17.0.15" 2025-04-15', 'java version "25" 2025-09-16'])
def test_p6_4_java_17_or_newer_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("JAVA_HOME", java_that_tells(tmp_path / "jdk", told))
    assert find_java() == tmp_path / "jdk/bin/java"
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path / "jdk/bin"))
    assert find_java() == tmp_path / "jdk/bin/java"


@pytest.mark.parametrize(
    ("told", "fragment"), [('java version "1.8.0_402"', "is 8: "), ("what?", "is of no version that it tells")]
)
def test_p6_4_another_java_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, fragment: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", java_that_tells(tmp_path / "jdk", told))
    with pytest.raises(TemporarilyUnavailable, match=f"Java 17 or newer.*{fragment}"):
        find_java()


def test_p6_4_no_java_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(TemporarilyUnavailable, match=f"JAVA_HOME is {tmp_path}.*openjdk-17-jre-headless"):
        find_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TemporarilyUnavailable, match="none on the path"):
        find_java()


def test_p6_4_a_session_listens_on_the_loopback_only_and_has_no_page() -> None:
    conf = session_conf(2, "1g")
    assert conf["spark.master"] == "local[2]"
    assert conf["spark.driver.bindAddress"] == conf["spark.driver.host"] == "127.0.0.1"
    assert conf["spark.ui.enabled"] == "false"


def test_p6_4_deltas_jars_are_named_or_fetched_where_there_are_some() -> None:
    assert delta_conf("4.2.1", [])["spark.jars.packages"] == "io.delta:delta-spark_4.2_2.13:4.4.1"
    at_hand = delta_conf("4.9.0", [Path("/jars/a.jar"), Path("/jars/b.jar")])
    assert at_hand["spark.jars"] == "/jars/a.jar,/jars/b.jar"
    assert "spark.jars.packages" not in at_hand
    with pytest.raises(NotSupported, match=r"no jars for Spark 4\.9\.0, but for 4\.0, 4\.1, 4\.2"):
        delta_conf("4.9.0", [])


def test_p6_4_what_cannot_be_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark")
    with pytest.raises(InvalidParameterValue, match="cores: got 0"):
        session(cores=0)
    with pytest.raises(InvalidParameterValue, match=r"jars: got .*missing.jar"):
        session(jars=[tmp_path / "missing.jar"])
    monkeypatch.setenv("PENSTOCK_SPARK_JARS", str(tmp_path / "named.jar"))
    with pytest.raises(InvalidParameterValue, match=r"jars: got .*named.jar"):
        session()
