// The server that is looked at, from the environment: an address, and tokens of a user and of the platform.
function needed(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: run docs/examples/check, or set it`);
  }
  return value;
}

export const url = new URL('/graphql', needed('TENTERHOOK_URL')).href;
export const socketUrl = url.replace(/^http/, 'ws') + '/ws';
export const userToken = needed('USER_TOKEN');
export const platformToken = needed('PLATFORM_TOKEN');

export const bearer = (token) => ({ authorization: `Bearer ${token}` });

/** Any document, with nothing between us and the server. */
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

/** Publishes a change of deal 8 to the user's company. */
export async function publish() {
  const { viewer } = await ask('{ viewer { companyId userId } }');
  const event = {
    companyId: viewer.companyId,
    userId: viewer.userId,
    action: 'CHANGE',
    object: 'deal',
    objectId: '8',
    data: { id: 8 },
  };
  const { publishEvents } = await ask(
    'mutation($input: PublishEventsInput!) { publishEvents(input: $input) { events { deliveryCount } userErrors { code } } }',
    { input: { events: [event] } },
    platformToken,
  );
  return publishEvents.events[0].deliveryCount;
}

// What every client below is asked to do.

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
    delivery { webhook { id } }
  }
}`;

export const webhook = (subscriptionUrl) => ({
  input: { subscriptionUrl, eventAction: 'ANY', eventObject: 'deal' },
});
