"""Data for the fuzzer: an installed app, a webhook, and events whose deliveries failed."""

import os

import requests

URL = f"{os.environ['TENTERHOOK_URL']}/graphql"
ADMIN, PLATFORM = os.environ["ADMIN_TOKEN"], os.environ["PLATFORM_TOKEN"]


def ask(token, document):
    answer = requests.post(URL, json={"query": document}, headers={"authorization": f"Bearer {token}"}, timeout=30)
    [payload] = answer.json()["data"].values()
    assert not payload["userErrors"], payload


ask(PLATFORM, 'mutation { registerApp(input: { appId: "demo", name: "Demo" }) { userErrors { message } } }')
ask(
    PLATFORM,
    'mutation { installApp(input: { appId: "demo", companyId: "1", userId: "2" }) { userErrors { message } } }',
)
ask(
    ADMIN,
    """mutation {
      createWebhook(input: { subscriptionUrl: "http://127.0.0.1:9/hook", eventAction: ANY, eventObject: "*" }) {
        userErrors { message }
      }
    }""",
)
event = 'companyId: "1", userId: "2", action: CHANGE, object: "deal", objectId: "8", data: { id: 8, title: "Bigger" }'
ask(
    PLATFORM,
    f"mutation {{ publishEvents(input: {{ events: [{{ {event} }}, {{ {event} }}] }}) {{ userErrors {{ message }} }} }}",
)
