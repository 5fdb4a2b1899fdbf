"""What schemathesis sends to the API in addition to its own requests, and how every response is checked.

`docs/examples/check fuzz` runs it. Half of the values are valid and get past validation; the other half is
arbitrary.
"""

import json
import re

import graphql
import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

# Errors of the caller. Not among them: errors of the server (UNAVAILABLE, INTERNAL), and errors that would end the test
# (UNAUTHENTICATED, RATE_LIMITED).
CALLERS_FAULT = {
    "FORBIDDEN",
    "BAD_USER_INPUT",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "QUERY_TOO_DEEP",
    "QUERY_TOO_COMPLEX",
    "PAYLOAD_TOO_LARGE",
}

# Internals of the server, which no response may contain.
INTERNAL = re.compile(
    r"panicked|RUST_BACKTRACE|unwrap\(\)|diesel|postgres|sqlstate|tokio|async.graphql|\bSELECT\b|\bINSERT INTO\b"
    r"|src/[\w/-]+\.rs|\w\.rs:\d|/(?:home|root|usr|tmp|var|work)/|invalid digit found|line: \d+, column: \d+",
    re.IGNORECASE,
)


@schemathesis.check
def well_behaved(ctx, response, case):
    """No server error, a code in every error, and no internals in the response."""
    assert response.status_code < 500, f"status {response.status_code}"
    text = response.content.decode()
    leak = INTERNAL.search(text)
    assert not leak, f"{leak.group()!r} in {text}"
    answer = json.loads(text)
    errors = answer.get("errors")
    assert errors is None or errors, "an empty list of errors"
    assert errors or answer.get("data"), f"neither data nor errors: {text}"
    for error in errors or []:
        code = error.get("extensions", {}).get("code")
        assert code in CALLERS_FAULT, f"{code} in {error}"
        assert error.get("message"), f"no message in {error}"


def strings(*sensible):
    """One of these, or anything."""
    return (st.sampled_from(sensible) | st.text()).map(nodes.String)


schemathesis.graphql.scalar("EventObject", strings("deal", "person", "activityType", "*"))
schemathesis.graphql.scalar("Duration", strings("PT1H", "P1D", "PT0S", "-PT1H", "P1M", "PT0.001S", "P999999999999D"))
schemathesis.graphql.scalar(
    "DateTime",
    st.datetimes().map(lambda moment: nodes.String(f"{moment.isoformat()}Z"))
    | strings(
        "2026-11-23T10:11:12.345Z",
        "2026-11-23T10:11:12+14:00",
        "-009999-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999Z",
        "2026-11-23",
    ),
)


def object_of(fields):
    """An object literal."""
    named = [graphql.ObjectFieldNode(name=graphql.NameNode(value=name), value=value) for name, value in fields.items()]
    return nodes.Object(named)


anything = st.recursive(
    st.just(nodes.Null)
    | st.booleans().map(nodes.Boolean)
    | st.integers().map(nodes.Int)
    | st.floats(allow_nan=False, allow_infinity=False).map(nodes.Float)
    | st.text().map(nodes.String)
    | st.just(nodes.Enum("SOMETHING")),
    lambda inner: st.lists(inner).map(nodes.List)
    | st.dictionaries(st.sampled_from(["id", "title", "value"]), inner).map(object_of),
    max_leaves=8,
)
schemathesis.graphql.scalar("JSON", anything)
