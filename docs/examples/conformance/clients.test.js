// Other people's clients: a query, a mutation that works, one with wrong input, and an error with a code.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApolloClient, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { Client, fetchExchange } from '@urql/core';
import { ClientError, GraphQLClient } from 'graphql-request';
import { bearer, BROKEN, CREATE, DELETE, url, userToken, VIEWER, webhook } from './server.js';

const headers = bearer(userToken);

/** Each returns `{ data }`, or `{ errors }` as the server sent them. */
const clients = {
  'graphql-request': () => {
    const client = new GraphQLClient(url, { headers });
    return async (document, variables) => {
      try {
        return { data: await client.request(document, variables) };
      } catch (error) {
        assert(error instanceof ClientError, error);
        return { errors: error.response.errors };
      }
    };
  },
  'Apollo Client': () => {
    const client = new ApolloClient({ link: new HttpLink({ uri: url, headers }), cache: new InMemoryCache() });
    return async (document, variables) => {
      const parsed = gql(document);
      try {
        const { data } = document.startsWith('query')
          ? await client.query({ query: parsed, variables })
          : await client.mutate({ mutation: parsed, variables });
        return { data };
      } catch (error) {
        assert(CombinedGraphQLErrors.is(error), error);
        return { errors: error.errors };
      }
    };
  },
  // By default urql prefers GET for short queries.
  'urql, with GET': () => urql({ preferGetMethod: 'force' }),
  'urql, with POST': () => urql({ preferGetMethod: false }),
};

function urql(options) {
  const client = new Client({ url, exchanges: [fetchExchange], fetchOptions: { headers }, ...options });
  return async (document, variables) => {
    const { data, error } = document.startsWith('query')
      ? await client.query(document, variables).toPromise()
      : await client.mutation(document, variables).toPromise();
    if (error) {
      assert.equal(error.networkError, undefined, error.message);
      return { errors: error.graphQLErrors };
    }
    return { data };
  };
}

for (const [name, connect] of Object.entries(clients)) {
  test(name, async (t) => {
    const run = connect();
    await t.test('asks', async () => {
      const { data } = await run(VIEWER, {});
      assert.equal(data.viewer.userId, '1');
    });
    await t.test('gets an error with its code', async () => {
      const { errors } = await run(BROKEN, {});
      assert.equal(errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
    });
    await t.test('is told what is wrong with an input', async () => {
      const { data } = await run(CREATE, webhook('no URL'));
      const [error] = data.createWebhook.userErrors;
      assert.equal(error.code, 'INVALID_URL');
      assert.deepEqual([...error.path], ['input', 'subscriptionUrl']);
      assert.equal(data.createWebhook.webhook, null);
    });
    await t.test('changes', async () => {
      const { data: created } = await run(CREATE, webhook('http://127.0.0.1:9/hook'));
      assert.deepEqual([...created.createWebhook.userErrors], []);
      const { id } = created.createWebhook.webhook;
      const { data: deleted } = await run(DELETE, { id });
      assert.equal(deleted.deleteWebhook.deletedWebhookId, id);
    });
  });
}
