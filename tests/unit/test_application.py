"""What Flask and flask-restful promise holds for the resources and hooks that a user adds."""

import threading

import flask
import pytest
from flask import (
    Response,
    after_this_request,
    copy_current_request_context,
    current_app,
    g,
    has_request_context,
    request,
    session,
    signals,
    stream_with_context,
    url_for,
)
from flask_restful import Api, Resource, marshal_with
from flask_restful import fields as restful_fields
from werkzeug.exceptions import Conflict

from app import close_app, create_app
from application import ProblemApi
from settings import read_settings
from testkit.routes import NOWHERE


@pytest.fixture
def app(tmp_path):
    environment = {"POSTGRESQLCONNSTR_WWIF": NOWHERE, "POSTGRESQLCONNSTR_TAXI": NOWHERE}
    made = create_app(read_settings({**environment, "LOCAL_DIR": str(tmp_path)}))
    yield made
    close_app(made)


class Answers(Resource):
    def get(self, kind):
        if kind == "tuple":
            return {"kind": kind}, 202, {"X-Kind": kind}
        if kind == "raised":
            raise Conflict
        return {"kind": kind}

    def post(self, kind):
        return Response(kind, 201)


class Marshalled(Resource):
    method_decorators = [marshal_with({"a": restful_fields.Integer})]

    def get(self):
        return {"a": "5", "b": 6}


class WithHead(Resource):
    def get(self):
        return "get"

    def head(self):
        return None, 200, {"X-Head": "yes"}


class Made(Resource):
    def __init__(self, text):
        self.text = text

    def get(self):
        return self.text


@pytest.mark.parametrize("kind", [Api, ProblemApi])
def test_resources_of_a_user_answer_as_in_flask_restful(app, kind):
    api = kind(app)
    api.add_resource(Answers, "/answers/<kind>")
    api.add_resource(Marshalled, "/marshalled")
    api.add_resource(WithHead, "/with-head")
    api.add_resource(Made, "/made", resource_class_kwargs={"text": "given"})
    client = app.test_client()
    assert client.get("/answers/plain").json == {"kind": "plain"}
    given = client.get("/answers/tuple")
    assert (given.status_code, given.headers["X-Kind"]) == (202, "tuple")
    assert client.get("/answers/raised").status_code == 409
    assert client.post("/answers/text").data == b"text"
    assert client.head("/answers/plain").status_code == 200
    assert client.put("/answers/plain").status_code == 405
    assert client.options("/answers/plain").headers["Allow"]
    assert client.get("/marshalled").json == {"a": 5}
    assert client.head("/with-head").headers["X-Head"] == "yes"
    assert client.get("/made").json == "given"


def test_answers_of_a_users_views_become_responses(app):
    app.add_url_rule("/text", view_func=lambda: "text", endpoint="text")
    app.add_url_rule("/pair", view_func=lambda: ({"a": 1}, 203), endpoint="pair")
    app.add_url_rule("/none", view_func=lambda: None, endpoint="none")
    client = app.test_client()
    assert client.get("/text").mimetype == "text/html"
    assert (client.get("/pair").json, client.get("/pair").status_code) == ({"a": 1}, 203)
    assert client.get("/none").status_code == 500
    assert client.get("/text").headers["X-Request-ID"]


def test_hooks_of_a_user_run_in_flasks_order(app):
    seen = []

    @app.before_request
    def first():
        seen.append(("before", g.request_id, g.caller, request.url_rule.rule))

    @app.before_request
    def second():
        seen.append("second")
        if "stop" in request.args:
            return "stopped", 418
        return None

    app.after_request(lambda r: seen.append("after, first") or r)
    app.after_request(lambda r: seen.append("after, second") or r)
    app.teardown_request(lambda error: seen.append(("teardown", error)))
    app.teardown_appcontext(lambda error: seen.append("app teardown"))

    @app.get("/mine")
    def mine():
        @after_this_request
        def add(response):
            seen.append("after this")
            response.headers["X-Mine"] = "yes"
            return Response(response.get_data(), headers=response.headers)

        return "mine"

    answer = app.test_client().get("/mine", headers={"X-Request-Id": "abc"})
    assert (answer.data, answer.headers["X-Mine"]) == (b"mine", "yes")
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert seen == [
        *(("before", "abc", None, "/mine"), "second", "after this", "after, second"),
        *("after, first", ("teardown", None), "app teardown"),
    ]
    seen.clear()
    assert app.test_client().get("/mine?stop=1").status_code == 418
    assert seen[1:] == [
        *("second", "after, second", "after, first", ("teardown", None), "app teardown"),
    ]


def test_signals_are_sent_to_those_who_connect(app):
    seen = []
    names = ("request_started", "request_finished", "request_tearing_down")
    app_names = ("appcontext_pushed", "appcontext_popped", "appcontext_tearing_down")
    connected = []
    for name in (*names, *app_names):

        def receive(_, name=name, **_more):
            seen.append(name)

        connected.append(receive)  # signals keep weak references
        getattr(signals, name).connect(receive, app)
    app.test_client().get("/health/live")
    assert seen == [
        *("appcontext_pushed", "request_started", "request_finished", "request_tearing_down"),
        *("appcontext_tearing_down", "appcontext_popped"),
    ]


def test_the_proxies_work_in_views_streams_and_threads(app):
    @app.get("/proxies/<int:number>")
    def proxies(number):
        assert current_app._get_current_object() is app
        assert not session
        g.mine = number

        @copy_current_request_context
        def copied():
            return f"{request.path} {url_for('proxies', number=6)}"

        results = []
        thread = threading.Thread(target=lambda: results.append(copied()))
        thread.start()
        thread.join()

        def lines():
            yield f"{request.args['a']} {g.mine} {request.view_args} {request.host}\n"
            yield url_for("proxies", number=7, _external=True)
            yield "\n" + results[0]

        return Response(stream_with_context(lines()))

    answer = app.test_client().get("/proxies/5?a=b", headers={"Host": "localhost:81"})
    assert answer.get_data(as_text=True).splitlines() == [
        "b 5 {'number': 5} localhost:81",
        "http://localhost:81/proxies/7",
        "/proxies/5 /proxies/6",
    ]
    assert not has_request_context()


def test_request_contexts_of_tests_work(app):
    with app.test_request_context("/customer/5?x=1", method="PATCH", json={"a": 1}):
        assert (request.endpoint, request.view_args) == ("customer", {"customer_id": 5})
        assert (request.json, request.args["x"], request.url) == (
            {"a": 1},
            "1",
            "http://localhost/customer/5?x=1",
        )
        assert url_for("customers") == "/customers"
        with app.app_context():
            assert "request_id" not in g
    with app.test_request_context("/nowhere"):
        assert request.routing_exception.code == 404
    with app.test_client() as client:
        client.get("/health/live")
        assert request.path == "/health/live"
    assert not has_request_context()


def test_a_request_within_an_application_context_has_no_route_of_an_earlier_one(app):
    with app.app_context():
        assert app.test_client().get("/health/live").status_code == 200
        assert app.test_client().get("/customer/5").status_code == 503
        assert app.test_client().get("/health/live").status_code == 200


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"PATH_INFO": "//caf\u00c3\u00a9"},
        {"PATH_INFO": "/\u00ff", "SCRIPT_NAME": "/r\u00c3\u00a9/"},
        {"REQUEST_METHOD": "patch", "QUERY_STRING": "a=%C3%A9", "wsgi.url_scheme": "https"},
        {"SERVER_NAME": "unix", "SERVER_PORT": None},
        {"SERVER_NAME": "unix", "SERVER_PORT": ""},
        {"SERVER_PORT": "8080"},
        {"REMOTE_ADDR": "::1", "HTTP_HOST": "a:80", "CONTENT_LENGTH": "5"},
    ],
)
def test_a_request_has_the_parts_that_flasks_has(app, variables):
    environ = flask.Flask(__name__).test_request_context("/a?b=c").request.environ | variables
    ours, flasks = app.request_class(dict(environ)), flask.Request(dict(environ))
    for name in (
        *("method", "scheme", "server", "root_path", "path", "query_string", "remote_addr"),
        *("url", "base_url", "host", "host_url", "args", "content_length", "full_path", "mimetype"),
    ):
        assert getattr(ours, name) == getattr(flasks, name), name
    assert list(ours.headers) == list(flasks.headers)


def test_a_user_may_have_sessions(app):
    app.session_interface = flask.sessions.SecureCookieSessionInterface()
    app.secret_key = "for this test"

    @app.get("/count")
    def count():
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    client = app.test_client()
    assert [client.get("/count").data for _ in range(2)] == [b"1", b"2"]
    assert {"Cookie", "Accept-Encoding"} == set(client.get("/count").vary)
