// Subscriptions with other people's clients: over the socket and over HTTP, with a broken connection, a wrong token, and
// a server that stops and starts.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { bearer, hook, RECORDED, restart, RESTARTS, userToken, VIEWER } from './server.js';
import { begin, hearing, onceOnly, socket, subscribers } from './subscribers.js';

let id;
let end;

before(async () => {
  ({ id, end } = await hook());
});

after(() => end());

for (const [name, start] of Object.entries({ ...subscribers, ...onceOnly })) {
  test(`${name} receives an attempt`, async () => {
    const begun = begin(start, id);
    try {
      await hearing(begun);
    } finally {
      await begun.stop();
    }
  });
}

test('graphql-ws connects again when its connection breaks, and is told again', async () => {
  const sockets = [];
  class Watched extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const client = socket({ webSocketImpl: Watched });
  const begun = begin((webhook, sink) => {
    client.subscribe({ query: RECORDED, variables: { id: webhook } }, sink);
    return () => client.dispose();
  }, id);
  try {
    await hearing(begun);
    sockets[0].terminate();
    await hearing(begun);
    assert.equal(sockets.length, 2);
  } finally {
    await begun.stop();
  }
});

// In the lazy mode, which is the default, a client closes after its last subscription and connects again for the next.
test('graphql-ws closes cleanly between two subscriptions, without a retry', async () => {
  const codes = [];
  let wasClosed;
  const client = socket({
    lazyCloseTimeout: 0,
    retryAttempts: 0,
    on: {
      closed: (event) => {
        codes.push(event.code);
        wasClosed();
      },
    },
  });
  for (let round = 0; round < 2; round += 1) {
    const closed = new Promise((resolve) => {
      wasClosed = resolve;
    });
    const begun = begin((webhook, sink) => client.subscribe({ query: RECORDED, variables: { id: webhook } }, sink), id);
    await hearing(begun);
    await begun.stop();
    await closed;
  }
  assert.deepEqual(codes, [1000, 1000]);
  await client.dispose();
});

for (const [where, options] of Object.entries({
  'as Authorization': { connectionParams: { Authorization: bearer(userToken).authorization } },
  'under headers': { connectionParams: { headers: bearer(userToken) } },
  'in the upgrade request': {
    connectionParams: {},
    webSocketImpl: class extends WebSocket {
      constructor(address, protocols) {
        super(address, protocols, { headers: bearer(userToken) });
      }
    },
  },
})) {
  test(`a token is found ${where}`, async () => {
    const client = socket({ retryAttempts: 0, ...options });
    const { value } = await client.iterate({ query: VIEWER }).next();
    assert.equal(value.data.viewer.userId, '1');
    await client.dispose();
  });
}

// A server that stops closes its connections; one that crashes does not.
for (const [what, signal] of Object.entries({ stops: 'SIGTERM', crashes: 'SIGKILL' })) {
  test(`all go on when the server ${what} and starts again`, { skip: !RESTARTS && 'SERVER_PID_FILE is not set' }, async () => {
    const begun = Object.values(subscribers).map((start) => begin(start, id));
    try {
      await hearing(...begun);
      await restart(signal);
      await hearing(...begun);
    } finally {
      await Promise.all(begun.map(({ stop }) => stop()));
    }
  });
}

test('a wrong token is refused with 4403', async () => {
  const client = socket({ connectionParams: bearer('no token'), retryAttempts: 0 });
  const results = client.iterate({ query: RECORDED, variables: { id } });
  await assert.rejects(results.next(), (event) => event.code === 4403);
  await client.dispose();
});
