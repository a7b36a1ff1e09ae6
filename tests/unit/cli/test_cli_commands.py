"""Commands against an API server that answers over HTTP: what they print, what they send, how they end."""

import json

import pytest
import yaml

SERVICES = "/apis/slipway.dev/v1alpha1/namespaces/ml/modelservices"
PODS = "/api/v1/namespaces/ml/pods"
EVENTS = "/api/v1/namespaces/ml/events"
MODEL = "oci://registry.local/models/iris:1"


def service(
    name="iris", *, ready=True, url=None, reason="Serving", message="", generation=1, progressing="RolloutComplete"
):
    since = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation}
    state = "True" if ready else "False"
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": "ml", "uid": "u1", "generation": 1, "managedFields": [{}]},
        "spec": {"model": {"uri": MODEL}},
        "status": {
            "conditions": [
                {"type": "Ready", "status": state, "reason": reason, "message": message, **since},
                {"type": "Progressing", "status": "False", "reason": progressing, "message": message, **since},
            ],
            "replicas": 1,
            "readyReplicas": 1,
            **({"url": url} if url else {}),
        },
    }


def pod(restarts=0):
    return {
        "metadata": {"name": "iris-abc", "namespace": "ml", "uid": "p1", "labels": {}},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "model", "restartCount": restarts, "ready": True}],
        },
    }


def items(*objects):
    return {"metadata": {"resourceVersion": "1"}, "items": list(objects)}


def status(reason, message, causes=()):
    details = {"causes": [{"field": field, "message": says} for field, says in causes]}
    return {"kind": "Status", "reason": reason, "message": message, "details": details}


@pytest.fixture
def iris(api):
    """One model service, with a pod and an event."""
    about = {"kind": "Pod", "name": "iris-abc"}
    event = {
        "metadata": {"name": "e"},
        "involvedObject": about,
        "type": "Warning",
        "reason": "BackOff",
        "message": "no",
    }
    other = event | {"involvedObject": {"kind": "Pod", "name": "other"}, "message": "not ours"}
    api.on("GET", SERVICES, 200, items(service()))
    api.on("GET", f"{SERVICES}/iris", 200, service())
    api.on("GET", PODS, 200, items(pod()))
    api.on("GET", EVENTS, 200, items(event, other))
    return api


def test_list(slipway, iris):
    result = slipway("list")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["NAME", "READY", "REASON", "REPLICAS", "URL", "AGE"],
        ["iris", "True", "Serving", "1/1"],
    ]


def test_list_for_programs(slipway, iris):
    found = json.loads(slipway("list", "-o", "json").stdout)
    assert (found["apiVersion"], found["kind"]) == ("slipway.dev/v1alpha1", "ModelServiceList")
    assert found["items"][0]["metadata"]["name"] == "iris"
    assert "managedFields" not in found["items"][0]["metadata"]
    assert yaml.safe_load(slipway("list", "-o", "yaml").stdout) == found
    assert slipway("list", "-o", "name").stdout == "modelservice/iris\n"


def test_list_wide_and_all_namespaces(slipway, iris):
    iris.on("GET", "/apis/slipway.dev/v1alpha1/modelservices", 200, items(service()))
    lines = slipway("list", "-A", "-o", "wide").stdout.splitlines()
    assert lines[0].split() == ["NAMESPACE", "NAME", "READY", "REASON", "REPLICAS", "URL", "AGE", "REVISION", "WHY"]
    assert lines[1].startswith("ml ")


def test_empty_list_says_where_and_how_to_go_on(slipway, api):
    api.on("GET", SERVICES, 200, items())
    result = slipway("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no model service in namespace ml of prod" in result.stderr


def test_output_cannot_move_the_cursor(slipway, api):
    api.on("GET", SERVICES, 200, items(service(reason="\x1b[2JX")))
    assert "\x1b" not in slipway("list").stdout


def test_platform_not_installed(slipway, api):
    for command in (["list"], ["describe", "iris"], ["deploy", "iris", MODEL]):
        result = slipway(*command)
        assert result.exit_code == 4
        assert "The platform is not installed on prod." in result.stderr
        assert "slipway up" in result.stderr


def test_absent_service_names_the_near_one(slipway, iris):
    for command in (["describe", "irs"], ["logs", "irs"], ["predict", "irs"], ["delete", "irs"]):
        result = slipway(*command)
        assert result.exit_code == 4
        assert "There is no model service irs in namespace ml of prod; did you mean iris?" in result.stderr


def test_forbidden(slipway, api):
    api.on("GET", SERVICES, 403, status("Forbidden", 'User "u" cannot list resource "modelservices"'))
    result = slipway("list")
    assert result.exit_code == 5
    assert 'User "u" cannot list' in result.stderr


def test_unreachable(slipway, home, write_kubeconfig, unused_tcp_port):
    config = write_kubeconfig(home / "config", f"https://127.0.0.1:{unused_tcp_port}", "prod")
    for command in (["list"], ["describe", "iris"], ["deploy", "iris", MODEL], ["delete", "iris"], ["status"], ["up"]):
        result = slipway(*command, "--kubeconfig", config)
        assert result.exit_code == 7
        assert "Cannot reach prod" in result.stderr
        assert f"https://127.0.0.1:{unused_tcp_port}" in result.stderr
        assert len(result.stderr.splitlines()) <= 5


def test_no_cluster_and_no_context(slipway):
    result = slipway("list")
    assert result.exit_code == 4
    assert "`slipway up`" in result.stderr
    assert slipway("list", "--context", "nope").exit_code == 4


def test_describe(slipway, iris):
    out = slipway("describe", "iris").stdout
    assert "BackOff" in out
    assert "not ours" not in out
    assert out.endswith("Next: slipway predict iris\n")


def test_describe_for_programs(slipway, iris):
    kinds = [item["kind"] for item in json.loads(slipway("describe", "iris", "-o", "json").stdout)["items"]]
    assert kinds == ["ModelService", "Pod", "Event"]


def test_delete_says_where_and_guards_against_a_successor(slipway, iris):
    iris.on("DELETE", f"{SERVICES}/iris", 200, {"kind": "Status", "status": "Success"})
    result = slipway("delete", "iris")
    assert result.exit_code == 0
    assert "Deleting iris in namespace ml of prod" in result.stderr
    method, _, _, options = iris.asked[-1]
    assert (method, options["preconditions"]) == ("DELETE", {"uid": "u1"})


def test_logs_of_a_crashed_replica_begin_with_its_last_words(slipway, iris):
    iris.on("GET", PODS, 200, items(pod(restarts=1)))
    iris.on("GET", f"{PODS}/iris-abc/log", 200, b"2026-01-01T00:00:00.1Z hello \x1b[31mred\n2026-01-01T00:00:00.2Z bye")
    lines = slipway("logs", "iris").stdout.splitlines()
    assert lines == [
        "iris-abc (previous): hello  [31mred",
        "iris-abc (previous): bye",
        "iris-abc: hello  [31mred",
        "iris-abc: bye",
    ]
    assert len(slipway("logs", "iris", "--previous").stdout.splitlines()) == 2


def never_run(iris):
    """No container of it has run, and it is known why."""
    said = 'Back-off pulling image "registry.local/nope"'
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": said}}
    unpulled = pod()
    unpulled["status"]["containerStatuses"][0] |= {"ready": False, "state": waiting}
    iris.on("GET", PODS, 200, items(unpulled))
    failed = service(ready=False, reason="ImagePullBackOff", message=said, progressing="ImagePullBackOff")
    iris.on("GET", f"{SERVICES}/iris", 200, failed)
    return said


def test_logs_of_a_replica_that_never_ran_say_why_and_what_to_do(slipway, iris):
    said = never_run(iris)
    result = slipway("logs", "iris")
    assert (result.exit_code, result.stdout) == (0, "")
    why = f"0 of 1 ready, others ImagePullBackOff; ImagePullBackOff: {said}."
    assert result.stderr.splitlines() == [
        f"iris has no logs, as no container of it has run: {why}",
        "Next: correct what it says, then slipway deploy iris PATH|URI, or -f FILE",
    ]
    assert slipway("describe", "iris").stdout.splitlines()[-1] == result.stderr.splitlines()[-1]


def test_what_never_ran_is_not_looked_up_in_logs(slipway, iris):
    never_run(iris)
    iris.on("PATCH", f"{SERVICES}/iris", 200, service())
    assert "slipway logs" not in slipway("deploy", "iris", MODEL).stderr


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ([], "iris has written nothing that can be read. What comes from now on: slipway logs iris -f"),
        (["--previous"], "iris has no logs of earlier containers. Those of the present ones: slipway logs iris"),
    ],
)
def test_logs_of_a_replica_that_has_none(slipway, iris, option, says):
    silent = pod()
    silent["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    iris.on("GET", PODS, 200, items(silent))
    iris.on("GET", f"{PODS}/iris-abc/log", 200, b"")
    result = slipway("logs", "iris", *option)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [says]


def test_deploy_tries_first_and_applies_then(slipway, iris):
    iris.on("PATCH", f"{SERVICES}/iris", 200, service())
    result = slipway("deploy", "iris", MODEL, "--replicas", 2)
    assert result.exit_code == 0, result.stderr
    assert "Deploying iris in namespace ml of prod" in result.stderr
    writes = [(query, body) for method, _, query, body in iris.asked if method == "PATCH"]
    assert ["dryRun=All" in query for query, _ in writes] == [True, False]
    assert all("fieldManager=slipway-cli" in query and "force=false" in query for query, _ in writes)
    assert writes[1][1]["spec"] == {"model": {"uri": MODEL}, "scaling": {"min": 2, "max": 2}}


def test_deploy_keeps_what_is_not_said(slipway, iris):
    existing = service()
    existing["spec"]["scaling"] = {"min": 2, "max": 5}
    iris.on("GET", SERVICES, 200, items(existing))
    iris.on("PATCH", f"{SERVICES}/iris", 200, service())
    slipway("deploy", "iris", MODEL, "--no-wait", "--max", 7)
    assert iris.asked[-1][3]["spec"]["scaling"] == {"min": 2, "max": 7}


def test_deploy_of_a_file(slipway, iris, home):
    iris.on("PATCH", f"{SERVICES}/iris", 200, service())
    file = home / "svc.yaml"
    manifest = {key: value for key, value in service().items() if key != "status"}
    manifest["metadata"] = {"name": "iris"}
    file.write_text(yaml.safe_dump(manifest))
    result = slipway("deploy", "-f", file, "--no-wait", "-o", "name")
    assert (result.exit_code, result.stdout) == (0, "modelservice/iris\n")
    assert iris.asked[-1][3]["metadata"] == {"name": "iris", "namespace": "ml"}


@pytest.fixture
def skops(home):
    (home / "model.skops").write_bytes(b"x")
    return home / "model.skops"


def test_deploy_of_a_local_model_checks_then_stores_then_applies(slipway, iris, skops):
    iris.on("PATCH", f"{SERVICES}/iris", 200, service())
    result = slipway("deploy", "iris", skops, "--registry", f"{iris.url}/team", "--no-wait")
    assert result.exit_code == 0, result.stderr
    asked = [(method, path) for method, path, *_ in iris.asked if method in {"PATCH", "PUT"} and path != "/v2/upload"]
    assert asked == [
        ("PATCH", f"{SERVICES}/iris"),
        ("PUT", "/v2/team/iris/manifests/latest"),
        ("PATCH", f"{SERVICES}/iris"),
    ]
    model = iris.asked[-1][3]["spec"]["model"]
    assert model["uri"].startswith(f"oci://{iris.url.removeprefix('http://')}/team/iris@sha256:")
    assert model["format"] == "sklearn"


def test_nothing_is_stored_when_the_api_server_refuses_the_service(slipway, iris, skops):
    iris.on("PATCH", f"{SERVICES}/iris", 422, status("Invalid", "no"))
    assert slipway("deploy", "iris", skops, "--registry", iris.url).exit_code == 1
    assert not [path for _, path, *_ in iris.asked if path.startswith("/v2/")]


def test_push_prints_the_uri_and_nothing_else(slipway, api, skops):
    result = slipway("push", skops, "iris:v2", "--registry", f"{api.url}/team")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"oci://{api.url.removeprefix('http://')}/team/iris@sha256:")
    assert len(result.stdout.splitlines()) == 1
    assert api.asked[-1][1] == "/v2/team/iris/manifests/v2"


def test_registry_that_does_not_answer(slipway, skops, api, unused_tcp_port):
    result = slipway("push", skops, "iris", "--registry", f"http://127.0.0.1:{unused_tcp_port}")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr


def test_dry_run_changes_nothing(slipway, iris):
    iris.on("PATCH", f"{SERVICES}/iris", 200, service())
    result = slipway("deploy", "iris", MODEL, "--dry-run")
    assert result.exit_code == 0
    assert all("dryRun=All" in query for method, _, query, _ in iris.asked if method == "PATCH")
    assert "Nothing was stored or changed" in result.stderr


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"), [(409, "Conflict", 8), (422, "Invalid", 1), (403, "Forbidden", 5), (500, "", 1)]
)
def test_a_refusal_by_the_server_is_the_end(slipway, iris, code, reason, exit_code):
    iris.on("PATCH", f"{SERVICES}/iris", code, status(reason, "it says no", [("spec.model", "is odd")]))
    result = slipway("deploy", "iris", MODEL)
    assert result.exit_code == exit_code
    assert ("spec.model: is odd" if code == 422 else "it says no") in result.stderr
    assert [method for method, *_ in iris.asked].count("PATCH") == 1


def test_deploy_ends_at_the_first_fact_that_does_not_heal(slipway, iris):
    iris.on("PATCH", f"{SERVICES}/iris", 200, service())
    said = 'Back-off pulling image "registry.local/nope"'
    failed = service(ready=False, reason="ImagePullBackOff", message=said, progressing="ImagePullBackOff")
    iris.on("GET", f"{SERVICES}/iris", 200, failed)
    result = slipway("deploy", "iris", MODEL)
    assert result.exit_code == 1
    assert f"iris cannot become ready: ImagePullBackOff: {said}" in result.stderr


def test_deploy_that_takes_too_long(slipway, iris):
    iris.on("PATCH", f"{SERVICES}/iris", 200, service())
    iris.on("GET", f"{SERVICES}/iris", 200, service(generation=0))
    result = slipway("deploy", "iris", MODEL, "--timeout", "100ms")
    assert result.exit_code == 3
    assert "iris is not ready after" in result.stderr
    assert "slipway describe iris" in result.stderr


def test_predict_through_the_gateway(slipway, iris):
    iris.on("GET", "/ml/iris/predict", 200, {"example": [1]})
    iris.on("GET", f"{SERVICES}/iris", 200, service(url=f"{iris.url}/ml/iris"))
    result = slipway("predict", "iris")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"example": [1]}
    assert "--data" in result.stderr


def test_predict_through_the_api_server(slipway, iris):
    path = "/api/v1/namespaces/ml/services/http:iris:http/proxy/predict"
    iris.on("POST", path, 200, {"predictions": [0]})
    result = slipway("predict", "iris", "--data", "@-", "--via", "api", stdin="[[1, 2]]")
    assert json.loads(result.stdout) == {"predictions": [0]}
    assert iris.asked[-1][3] == [[1, 2]]


def test_predict_falls_back_to_the_api_server(slipway, iris, unused_tcp_port):
    iris.on("GET", f"{SERVICES}/iris", 200, service(url=f"http://127.0.0.1:{unused_tcp_port}/ml/iris"))
    iris.on("GET", "/api/v1/namespaces/ml/services/http:iris:http/proxy/predict", 200, [1])
    result = slipway("predict", "iris")
    assert json.loads(result.stdout) == [1]
    assert "does not answer" in result.stderr
    assert slipway("predict", "iris", "--via", "gateway").exit_code == 7


def test_prediction_that_the_model_refuses(slipway, iris):
    path = "/api/v1/namespaces/ml/services/http:iris:http/proxy/predict"
    iris.on("POST", path, 400, b"x has 3 columns, the model takes 4")
    result = slipway("predict", "iris", "-d", "[[1, 2, 3]]", "--via", "api")
    assert result.exit_code == 1
    assert "answered 400: x has 3 columns, the model takes 4." in result.stderr
