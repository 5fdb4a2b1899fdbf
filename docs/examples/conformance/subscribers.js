// Subscriptions with other people's clients, each set up to continue after any failure of its connection.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { ApolloClient, gql, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient as createSse } from 'graphql-sse';
import { createClient as createWs } from 'graphql-ws';
import WebSocket from 'ws';
import { bearer, publish, RECORDED, socketUrl, url, userToken } from './server.js';

const PATIENCE_MS = 60_000;
/** The pause between publications until a subscriber has received one: it does not know when it is subscribed. */
const AGAIN_MS = 200;
/** A client's pause before it tries again. The defaults, a second and more, suit servers with many clients. */
const RETRY_MS = 100;
const RETRIES = PATIENCE_MS / RETRY_MS;

export const socket = (options = {}) =>
  createWs({
    url: socketUrl,
    webSocketImpl: WebSocket,
    connectionParams: bearer(userToken),
    retryAttempts: RETRIES,
    retryWait: () => pause(RETRY_MS),
    // By default graphql-ws gives up if it cannot connect, for example while a server starts.
    shouldRetry: () => true,
    ...options,
  });

/** Each subscribes to the attempts of a webhook, and returns a function that stops it. */
export const subscribers = {
  'graphql-ws': (id, sink) => {
    const client = socket();
    client.subscribe({ query: RECORDED, variables: { id } }, sink);
    return () => client.dispose();
  },
  'graphql-sse': (id, sink) => {
    const retry = () => pause(RETRY_MS);
    const client = createSse({ url, headers: bearer(userToken), retryAttempts: RETRIES, retry });
    client.subscribe({ query: RECORDED, variables: { id } }, sink);
    return () => client.dispose();
  },
  'Apollo Client': (id, sink) => {
    const client = new ApolloClient({ link: new GraphQLWsLink(socket()), cache: new InMemoryCache() });
    const subscription = client.subscribe({ query: gql(RECORDED), variables: { id } }).subscribe({
      next: ({ data, error }) => (error ? sink.error(error) : sink.next({ data })),
      error: sink.error,
      complete: sink.complete,
    });
    return () => {
      subscription.unsubscribe();
      client.stop();
    };
  },
  urql: (id, sink) => {
    const client = socket();
    const forwardSubscription = (request) => ({
      subscribe: (observer) => ({ unsubscribe: client.subscribe(request, observer) }),
    });
    const stop = urql(id, sink, [subscriptionExchange({ forwardSubscription })]);
    return () => {
      stop();
      client.dispose();
    };
  },
};

/** These use only HTTP, and do not retry by themselves. */
export const onceOnly = {
  'urql, with SSE': (id, sink) => urql(id, sink, [fetchExchange], { fetchSubscriptions: true }),
};

function urql(id, sink, exchanges, options = {}) {
  const client = new Client({ url, exchanges, fetchOptions: { headers: bearer(userToken) }, ...options });
  return client
    .subscription(RECORDED, { id })
    .subscribe(({ data, error }) => (error ? sink.error(error) : sink.next({ data }))).unsubscribe;
}

/** Starts a subscriber and collects the ids of the events that it receives. */
export function begin(start, id) {
  const heard = new Set();
  let fail;
  const failed = new Promise((_, reject) => {
    fail = reject;
  });
  // A failure before anybody waits for it must not count as an unhandled rejection.
  failed.catch(() => undefined);
  const stop = start(id, {
    next: ({ data, errors }) => {
      try {
        assert.equal(errors, undefined);
        const { number, delivery } = data.attemptRecorded;
        assert.equal(number, 1);
        assert.equal(delivery.webhook.id, id);
        heard.add(delivery.event.eventId);
      } catch (error) {
        fail(error);
      }
    },
    error: fail,
    complete: () => fail(new Error('the subscription was over')),
  });
  return { heard, failed, stop };
}

/** Publishes until each subscriber has received an event published during the call. */
export async function hearing(...begun) {
  const published = [];
  const late = Date.now() + PATIENCE_MS;
  const isDeaf = ({ heard }) => !published.some((id) => heard.has(id));
  while (published.length === 0 || begun.some(isDeaf)) {
    if (Date.now() > late) {
      throw new Error(`${begun.filter(isDeaf).length} of ${begun.length} heard of nothing`);
    }
    published.push(await publish());
    await Promise.race([pause(AGAIN_MS), ...begun.map(({ failed }) => failed)]);
  }
}
