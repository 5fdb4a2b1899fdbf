// GraphQL over HTTP: the audits of npm `graphql-http`, which check every MUST, SHOULD and MAY of the specification.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverAudits } from 'graphql-http';
import { bearer, url, userToken } from './server.js';

const KNOWN = 61;

const audits = serverAudits({
  url,
  fetchFn: (address, init = {}) => fetch(address, { ...init, headers: { ...init.headers, ...bearer(userToken) } }),
});

test('there are as many audits as were known', () => assert.equal(audits.length, KNOWN));

for (const { id, name, fn } of audits) {
  test(`${id} ${name}`, async () => {
    const result = await fn();
    assert.equal(result.status, 'ok', result.reason);
  });
}
