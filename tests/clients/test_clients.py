"""Clients of other languages against `make serve`: they know .proto files or reflection only."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.clients.conftest import Call, Certificates, ServedMesh

    BufCurl = Callable[[str, str, object], subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.timeout(180)

BIN = Path(sys.executable).parent

SUM = {
    "algorithm_config": {"algorithm_type": "sum"},
    "input_data": {"value": [1, 2, 3, 4, 5]},
}


@pytest.fixture(scope="module", params=["plain", "mtls"])
def reached(
    request: pytest.FixtureRequest, certificates: Certificates
) -> tuple[ServedMesh, Sequence[str]]:
    """A mesh and the options with which the Node.js client reaches it."""
    if request.param == "plain":
        return request.getfixturevalue("mesh"), ()
    files = ("--ca", certificates.ca, "--cert", certificates.cert, "--key", certificates.key)
    return request.getfixturevalue("mtls_mesh"), tuple(map(str, files))


def test_node_js_sees_every_server_healthy(
    reached: tuple[ServedMesh, Sequence[str]], node_call: Call
) -> None:
    served, options = reached
    for address in served.addresses.values():
        answer = node_call("health", address, *options)
        assert answer == {"code": "OK", "response": {"status": "SERVING"}}


def test_node_js_gets_a_sum(reached: tuple[ServedMesh, Sequence[str]], node_call: Call) -> None:
    served, options = reached
    answer = node_call("sum", served.addresses["compute"], *options)
    assert answer["code"] == "OK", answer
    output = cast("dict[str, dict[str, dict[str, object]]]", answer["response"])
    assert output["processed_data"]["value"]["numberValue"] == 15


def test_node_js_gets_the_reason_of_an_error(
    reached: tuple[ServedMesh, Sequence[str]], node_call: Call
) -> None:
    served, options = reached
    answer = node_call("unknown", served.addresses["compute"], *options)
    assert (answer["code"], answer["reason"]) == ("NOT_FOUND", "ALGORITHM_NOT_FOUND")


def test_a_deadline_of_node_js_cancels_the_handler(
    reached: tuple[ServedMesh, Sequence[str]], node_call: Call
) -> None:
    served, options = reached
    answer = node_call("slow", served.addresses["compute"], *options)
    assert answer["code"] == "DEADLINE_EXCEEDED"
    # The calls after the cancelled one find its log line written.
    node_call("sum", served.addresses["compute"], *options)
    waited = [
        cast("float", line["after_s"])
        for line in served.log("compute")
        if line["message"] == "demo.wait cancelled"
    ]
    assert len(waited) == 1
    assert waited[0] < 0.2 + 0.1


def test_mtls_refuses_a_client_without_a_certificate(
    mtls_mesh: ServedMesh, certificates: Certificates, node_call: Call
) -> None:
    for options in ((), ("--ca", str(certificates.ca))):
        answer = node_call("sum", mtls_mesh.addresses["compute"], *options)
        assert answer["code"] == "UNAVAILABLE"


@pytest.fixture(scope="module", params=["plain", "mtls"])
def buf_curl(request: pytest.FixtureRequest, certificates: Certificates) -> BufCurl:
    """Calls one method of a server by its kind, as `buf curl` does: by reflection."""
    if request.param == "plain":
        served: ServedMesh = request.getfixturevalue("mesh")
        scheme, options = "http", ["--http2-prior-knowledge"]
    else:
        served = request.getfixturevalue("mtls_mesh")
        files = ("--cacert", certificates.ca, "--cert", certificates.cert)
        scheme, options = "https", [*map(str, files), "--key", str(certificates.key)]

    def call(kind: str, method: str, body: object) -> subprocess.CompletedProcess[str]:
        url = f"{scheme}://{served.addresses[kind]}/{method}"
        command = (str(BIN / "buf"), "curl", "--protocol", "grpc", *options)
        return subprocess.run(
            (*command, "-d", json.dumps(body), url), capture_output=True, text=True, timeout=60
        )

    return call


def test_buf_curl_works_by_reflection(buf_curl: BufCurl) -> None:
    done = buf_curl("compute", "onex.v1.ComputeNodeService/ExecuteCompute", SUM)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["processedData"] == {"value": 15}


def test_buf_curl_sees_health(buf_curl: BufCurl) -> None:
    done = buf_curl("reducer", "grpc.health.v1.Health/Check", {})
    assert json.loads(done.stdout) == {"status": "SERVING"}


def test_buf_curl_gets_the_reason_of_an_error(buf_curl: BufCurl) -> None:
    body = {"algorithm_config": {"algorithm_type": "median"}, "input_data": {"value": [1]}}
    done = buf_curl("compute", "onex.v1.ComputeNodeService/ExecuteCompute", body)
    assert done.returncode == 8 * 5, done.stderr
    fault = json.loads(done.stderr)
    assert fault["code"] == "not_found"
    details = {detail["type"]: detail["value"] for detail in fault["details"]}
    info = ErrorInfo.FromString(b64decode(details["google.rpc.ErrorInfo"] + "=="))
    assert (info.domain, info.reason) == ("onex", "ALGORITHM_NOT_FOUND")
