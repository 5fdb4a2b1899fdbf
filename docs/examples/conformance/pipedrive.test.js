// The published Node client of Pipedrive. Only its host is changed: it lists, creates and deletes webhooks
// through the REST routes. Its namespace v2 has no webhooks; v1 creates both payload versions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pipedrive from 'pipedrive';
import { appToken, ask, origin, platformToken, userToken } from './server.js';

const { v1, v2 } = pipedrive;
const basePath = `${origin}/api/v1`;
const APP = 'conformance';
// Nobody listens there, and the server does not ask.
const RECEIVER = 'http://127.0.0.1:9/hook';

const webhooks = (credentials) => new v1.WebhooksApi(new v1.Configuration({ basePath, ...credentials }));

/** An app acts through OAuth; it is installed for the user of the token. */
async function installed() {
  const { viewer } = await ask('{ viewer { userId companyId } }', {}, appToken);
  const { registerApp, installApp } = await ask(
    `mutation($companyId: ID!, $userId: ID!) {
      registerApp(input: { appId: "${APP}", name: "Conformance" }) { userErrors { code } }
      installApp(input: { appId: "${APP}", companyId: $companyId, userId: $userId }) { userErrors { code } }
    }`,
    viewer,
    platformToken,
  );
  assert(registerApp.userErrors.every(({ code }) => code === 'ALREADY_EXISTS'));
  assert.deepEqual(installApp.userErrors, []);
}

const callers = {
  // `x-api-token` for an API token, `Authorization` for OAuth.
  'a personal API token': { credentials: { apiKey: userToken }, type: 'general' },
  'an OAuth token': { credentials: { accessToken: userToken }, type: 'general' },
  'an app': { credentials: { accessToken: appToken }, type: 'application', prepare: installed },
};

const versions = {
  '1.0': { event_action: 'updated', event_object: 'deal' },
  '2.0': { event_action: 'change', event_object: 'person' },
};

test('the namespace v2 has no webhooks', () => assert.equal(v2.WebhooksApi, undefined));

for (const [name, { credentials, type, prepare }] of Object.entries(callers)) {
  test(name, async (t) => {
    await prepare?.();
    const api = webhooks(credentials);
    for (const [version, event] of Object.entries(versions)) {
      await t.test(`creates, lists and deletes a webhook of version ${version}`, async () => {
        const AddWebhookRequest = { subscription_url: RECEIVER, name: 'of the Node client', version, ...event };
        const created = await api.addWebhook({ AddWebhookRequest });
        assert.equal(created.status, 'ok');
        assert.match(created.additional_data.signing_secret, /^whsec_/);
        const { data } = created;
        assert(Number.isInteger(data.id));
        assert.deepEqual(
          [data.type, data.version, data.event_action, data.event_object, data.subscription_url, data.is_active],
          [type, version, event.event_action, event.event_object, RECEIVER, 1],
        );
        const listed = await api.getWebhooks();
        assert.deepEqual(listed.data.find(({ id }) => id === data.id), data);
        assert.deepEqual(await api.deleteWebhook({ id: data.id }), { status: 'ok', success: true });
        const after = await api.getWebhooks();
        assert(after.data.every(({ id }) => id !== data.id));
      });
    }
    await t.test('gets errors in the form that it knows', async () => {
      await assert.rejects(api.deleteWebhook({ id: Number.MAX_SAFE_INTEGER }), {
        status: 'error',
        success: false,
        errors: { id: ['not found'] },
      });
      const AddWebhookRequest = { subscription_url: 'no URL', event_action: '*', event_object: '*', name: 'n' };
      const refused = await api.addWebhook({ AddWebhookRequest }).catch((error) => error);
      assert.deepEqual(refused.errors, { subscription_url: ['invalid or non-reachable URL'] });
    });
  });
}

test('a wrong token is refused', async () => {
  await assert.rejects(webhooks({ apiKey: 'wrong' }).getWebhooks(), {
    success: false,
    error: 'unauthorized access',
    errorCode: 401,
  });
});
