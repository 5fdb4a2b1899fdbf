// Subscriptions through other people's clients: npm `graphql-ws` over the socket and npm `graphql-sse` over HTTP.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { createClient as createSse } from 'graphql-sse';
import { createClient as createWs } from 'graphql-ws';
import WebSocket from 'ws';
import { ask, bearer, CREATE, DELETE, publish, RECORDED, socketUrl, url, userToken, webhook } from './server.js';

const PATIENCE_MS = 20_000;
/** How often to publish until a subscriber has seen one: when it listens is not told to it. */
const AGAIN_MS = 200;

let receiver;
let id;

before(async () => {
  receiver = createServer((_, response) => response.end());
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const { createWebhook } = await ask(CREATE, webhook(`http://127.0.0.1:${receiver.address().port}/`));
  assert.deepEqual(createWebhook.userErrors, []);
  id = createWebhook.webhook.id;
});

after(async () => {
  await ask(DELETE, { id });
  receiver.close();
  receiver.closeAllConnections();
});

const recorded = () => ({ query: RECORDED, variables: { id } });

/** The first thing that a subscription of `client` tells, while something is published. */
async function told(client) {
  let again;
  let late;
  try {
    return await new Promise((resolve, reject) => {
      late = setTimeout(() => reject(new Error('nothing was told')), PATIENCE_MS);
      const stop = client.subscribe(recorded(), {
        next: (result) => {
          resolve(result);
          stop();
        },
        error: reject,
        complete: () => undefined,
      });
      again = setInterval(() => publish().catch(reject), AGAIN_MS);
    });
  } finally {
    clearTimeout(late);
    clearInterval(again);
  }
}

function isAttempt({ data, errors }) {
  assert.equal(errors, undefined);
  assert.equal(data.attemptRecorded.number, 1);
  assert.equal(data.attemptRecorded.delivery.webhook.id, id);
}

test('graphql-ws is told of an attempt', async () => {
  const client = createWs({
    url: socketUrl,
    webSocketImpl: WebSocket,
    connectionParams: bearer(userToken),
    retryAttempts: 0,
  });
  try {
    isAttempt(await told(client));
  } finally {
    await client.dispose();
  }
});

test('graphql-ws connects again when its connection breaks, and is told again', async () => {
  const sockets = [];
  class Watched extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const client = createWs({
    url: socketUrl,
    webSocketImpl: Watched,
    connectionParams: bearer(userToken),
    retryAttempts: 5,
    retryWait: async () => undefined,
    shouldRetry: () => true,
  });
  try {
    const results = client.iterate(recorded());
    const again = setInterval(publish, AGAIN_MS);
    try {
      isAttempt((await results.next()).value);
      sockets[0].terminate();
      while (sockets.length < 2) {
        isAttempt((await results.next()).value);
      }
      isAttempt((await results.next()).value);
    } finally {
      clearInterval(again);
      await results.return();
    }
    assert.equal(sockets.length, 2);
  } finally {
    await client.dispose();
  }
});

test('a wrong token is refused with 4403', async () => {
  const client = createWs({
    url: socketUrl,
    webSocketImpl: WebSocket,
    connectionParams: bearer('no token'),
    retryAttempts: 0,
  });
  await assert.rejects(told(client), (event) => event.code === 4403);
});

test('graphql-sse is told of an attempt', async () => {
  const client = createSse({ url, headers: bearer(userToken), retryAttempts: 0 });
  try {
    isAttempt(await told(client));
  } finally {
    client.dispose();
  }
});
