// The server under test, from the environment: its address, and tokens of a user, of an app and of the platform. With
// SERVER_PID_FILE it can be stopped: the process whose id is in that file is started again, at the same address.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

function needed(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: run docs/examples/check, or set it`);
  }
  return value;
}

export const { origin } = new URL(needed('TENTERHOOK_URL'));
export const url = new URL('/graphql', origin).href;
export const socketUrl = url.replace(/^http/, 'ws') + '/ws';
export const userToken = needed('USER_TOKEN');
export const appToken = needed('APP_TOKEN');
export const platformToken = needed('PLATFORM_TOKEN');

export const bearer = (token) => ({ authorization: `Bearer ${token}` });

/** Sends a document without any client library. */
export async function ask(query, variables = {}, token = userToken) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { ...bearer(token), 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (errors) {
    throw new Error(JSON.stringify(errors));
  }
  return data;
}

/** Publishes a change of deal 8 to the user's company; returns the event's id. */
export async function publish() {
  const { viewer } = await ask(VIEWER);
  const event = {
    companyId: viewer.companyId,
    userId: viewer.userId,
    action: 'CHANGE',
    object: 'deal',
    objectId: '8',
    data: { id: 8 },
  };
  const { publishEvents } = await ask(
    'mutation($input: PublishEventsInput!) { publishEvents(input: $input) { events { event { eventId } } userErrors { code } } }',
    { input: { events: [event] } },
    platformToken,
  );
  return publishEvents.events[0].event.eventId;
}

/** Creates a webhook of the user with a receiver that accepts everything; returns its id, and a function that ends both. */
export async function hook() {
  const receiver = createServer((_, response) => response.end());
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const { createWebhook } = await ask(CREATE, webhook(`http://127.0.0.1:${receiver.address().port}/`));
  assert.deepEqual(createWebhook.userErrors, []);
  const { id } = createWebhook.webhook;
  const end = async () => {
    await deleteWebhook(id);
    receiver.close();
    receiver.closeAllConnections();
  };
  return { id, end };
}

export const deleteWebhook = (id) => ask(DELETE, { id });

const PID_FILE = process.env.SERVER_PID_FILE;
const RESTART_MS = 60_000;
const LOOK_EVERY_MS = 50;

/** Whether `restart` can be called. */
export const RESTARTS = Boolean(PID_FILE);

/** Ends the server with a signal and waits until the next one is ready. */
export async function restart(signal) {
  const pid = readFileSync(PID_FILE, 'utf8');
  process.kill(Number(pid), signal);
  const late = Date.now() + RESTART_MS;
  while (readFileSync(PID_FILE, 'utf8') === pid || !(await isReady())) {
    if (Date.now() > late) {
      throw new Error('the server did not come back');
    }
    await pause(LOOK_EVERY_MS);
  }
}

const isReady = () => fetch(new URL('/readyz', url)).then(({ ok }) => ok, () => false);

// The operations of every client below.

export const VIEWER = 'query Viewer { viewer { userId companyId } }';
export const BROKEN = 'query Broken { viewer { shoeSize } }';
export const CREATE = `mutation Create($input: CreateWebhookInput!) {
  createWebhook(input: $input) {
    webhook { id subscriptionUrl }
    userErrors { code path }
  }
}`;
export const DELETE = `mutation Delete($id: ID!) {
  deleteWebhook(input: { id: $id }) {
    deletedWebhookId
    userErrors { code path }
  }
}`;
export const RECORDED = `subscription Recorded($id: ID) {
  attemptRecorded(webhookId: $id) {
    number
    delivery { webhook { id } event { eventId } }
  }
}`;

export const webhook = (subscriptionUrl) => ({
  input: { subscriptionUrl, eventAction: 'ANY', eventObject: 'deal' },
});
